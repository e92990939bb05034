"""Signals for the project that uses this app; nothing in the app itself depends on them.

``execution_started`` is sent where the handler runs, just before it is called, with ``context``
(a TaskContext). ``execution_finished`` is sent by the worker once the end is committed, with
``execution`` (the row). Both have the handler's function as sender, so ``connect(receiver,
sender=cleanup)`` hears of one handler only; a receiver that raises is logged and otherwise ignored.
Receivers of ``execution_finished`` are called in the loop of the worker, which does nothing else
meanwhile: they should be quick, and must never wait without a timeout.
"""

from __future__ import annotations

from django.dispatch import Signal

execution_started = Signal()
execution_finished = Signal()
