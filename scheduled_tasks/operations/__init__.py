"""What code and people may ask for: the admin and the commands change rows only through this.

In: names and ids of tasks and executions, and ``by``: who asks. Out: rows of models, or an
exception of ``scheduled_tasks.exceptions``. All of it runs in the calling thread, in short
transactions of its own, except ``lock``: a thread holds and renews a lock for its block.

- ``tasks``: look up, define, enable, disable, pause, resume, reset to code, run.
- ``executions``: look up, cancel, requeue, resolve.
- ``pauses``: pause all tasks, resume them.
- ``alerts``: send a test.
- ``maintenance_windows``: hold back messages about alerts for a while.
- ``sync``: write what code declares into the database.
- ``locks`` and ``lock_renewer``: locks by name.
- ``records``: tasks, executions, log lines and workers as JSON.
- ``estimates``: the remaining time of a run.

Nothing here runs a task. Workers do, see ``worker``. Read first: ``tasks.py``.
"""

from __future__ import annotations
