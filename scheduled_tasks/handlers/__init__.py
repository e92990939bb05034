"""What code declares: handlers, their payloads, tasks, and which failures are retried.

Functions go in through ``@scheduled_task`` and ``declare`` at import time, without a database or
settings. ``registry.registry`` holds them; the sync reads ``declarations`` from it, the runner
looks up handlers by key and checks payloads with ``payloads``.

Read ``decorator`` first, then ``registry`` and ``payloads``.
"""

from __future__ import annotations
