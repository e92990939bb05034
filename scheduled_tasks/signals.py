"""Signals for the project that uses this app; nothing in the app itself depends on them.

``execution_started`` is sent where the handler runs, just before it is called, with ``context``
(a TaskContext).

``execution_finished`` is sent whenever an execution reaches a final status, with ``execution`` (the
row): a run has ended, a lost one was given up, a queued one was cancelled, skipped or too late, or
a row was made for slots that get no execution. ``slot_missed`` is sent for slots that were missed,
with ``execution`` (the row that covers them) and ``slots`` (the datetimes that have just been
decided). Both are sent after the commit, by the process that committed: a worker, or the web
process in which a person cancelled something.

All have the handler's function as sender, so ``connect(receiver, sender=cleanup)`` receives one
handler only. The sender is None where the sending process does not know the handler. A receiver
that raises is logged and otherwise ignored; only KeyboardInterrupt, which is Ctrl-C, is raised on.
A worker does nothing else while a receiver of the last two runs: receivers should be quick, and
must never wait without a timeout.
"""

from __future__ import annotations

from django.dispatch import Signal

execution_started = Signal()
execution_finished = Signal()
slot_missed = Signal()
