"""The list of tasks, the page of one, and what users can do to them.

``admin`` is the place to start. ``columns`` renders values, ``form`` validates a definition,
``recent`` fills the tables below a task, and ``actions`` acts on the list.
"""

from __future__ import annotations
