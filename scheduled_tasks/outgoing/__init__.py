"""The only way out by HTTP: for notifications, heartbeats, and tasks that send requests.

A method and a URL go in, a ``Response`` comes out. Anyone who may edit a task may choose the URL.
Therefore each address is checked before it is connected to, and a slow or endless answer is cut
off.
``send`` works in any thread and keeps no connection.

Read ``sending`` first, then ``addresses``, which decides what may be reached, and ``exchange``.
"""

from __future__ import annotations
