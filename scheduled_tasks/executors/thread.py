"""Runs the code in threads of the worker: the least overhead, no isolation."""

from __future__ import annotations

import logging
import queue
import threading
from contextvars import copy_context
from typing import Any

from django.db import close_old_connections, connections

from scheduled_tasks.executors.base import Executor
from scheduled_tasks.runner import perform
from scheduled_tasks.runs import Run

logger = logging.getLogger(__name__)


class ThreadExecutor(Executor):
    """Runs attempts in up to ``concurrency`` daemon threads, made as they are needed.

    A thread cannot be killed: a run that never returns keeps its place until the process ends.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._threads: list[threading.Thread] = []
        self._work: queue.SimpleQueue[Run | None] = queue.SimpleQueue()

    def begin(self, run: Run) -> None:
        """Hand the run to an idle thread, or to a new one while there may be more."""
        if len(self._threads) < min(len(self.in_hand), self.concurrency):
            name = f"run-{len(self._threads) + 1}"
            thread = threading.Thread(target=self._serve, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        self._work.put(run)

    def close(self) -> None:
        """Let the idle threads end; busy ones end with their run, or with the process."""
        for _ in self._threads:
            self._work.put(None)
        if not self.in_hand:
            for thread in self._threads:
                thread.join()

    def _serve(self) -> None:
        try:
            while (run := self._work.get()) is not None:
                close_old_connections()
                # What a handler activates, a language or a time zone, is gone with its run.
                outcome = copy_context().run(perform, run, clock=self.clock)
                drop_open_transactions()
                close_old_connections()
                self.deliver(outcome)
        finally:
            connections.close_all()


def drop_open_transactions() -> None:
    """Roll back what a handler left open, or the runs after it in this thread would be part of it.

    Django keeps a connection inside ``atomic`` marked as such even when it is closed, so the
    connection itself is given up for a new one.
    """
    for connection in connections.all(initialized_only=True):
        is_open = connection.connection is not None
        if connection.in_atomic_block or (is_open and not connection.autocommit):
            logger.warning("rolled back a transaction that a handler left open")
            connection.close()
            del connections[connection.alias]
