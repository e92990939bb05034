"""The list of executions, the page of one, and what users can do to them.

``admin`` is the place to start. ``columns`` renders values, ``attempts`` and ``log`` the tables
below an execution. ``bulk_actions`` acts on the list, ``buttons`` on one execution.
"""

from __future__ import annotations
