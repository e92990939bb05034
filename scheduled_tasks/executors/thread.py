"""Runs the code in threads of the worker: little overhead, no isolation."""

from __future__ import annotations

import logging
import queue
import threading
from contextvars import copy_context
from functools import partial
from typing import Any

from django.db import close_old_connections, connections, reset_queries

from scheduled_tasks.exceptions import WorkerStopping
from scheduled_tasks.executors.base import Executor
from scheduled_tasks.executors.connections import drop_open_transactions
from scheduled_tasks.executors.endings import (
    WORKER_STOPPED,
    cancelled,
    ended,
    failed,
    lost,
    timeout_reason,
)
from scheduled_tasks.executors.local_run import LocalRun
from scheduled_tasks.runtime.failures import failure_of
from scheduled_tasks.runtime.logs.shared_logging import SharedLogging
from scheduled_tasks.runtime.runs import Outcome, Run

logger = logging.getLogger(__name__)

NO_THREAD = "The run did not begin: no thread could be started for it."


class ThreadExecutor(Executor):
    """Runs attempts in up to ``concurrency`` daemon threads, started as they are needed.

    A thread cannot be killed, and its memory cannot be measured. At its timeout a run is asked to
    stop: an exception is raised in it as soon as it returns from whatever it waits for. Until it
    has ended, it counts towards ``concurrency``.
    """

    sends_begun = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._threads: list[threading.Thread] = []
        self._work: queue.SimpleQueue[LocalRun | None] = queue.SimpleQueue()
        self._runs: dict[tuple[int, int], LocalRun] = {}
        #: Why runs are stuck, each a sentence without a full stop.
        self._stuck: dict[tuple[int, int], str] = {}
        self._changing = threading.Lock()
        self._abandoned = False
        self._logging = SharedLogging()

    @property
    def stuck(self) -> frozenset[int]:
        """The executions that have not ended in the time that they had after their timeout."""
        if not self._stuck:
            return frozenset()
        with self._changing:
            return frozenset(
                number for number, run in self.in_hand.items() if claim_of(run) in self._stuck
            )

    @property
    def leaves_code_running(self) -> bool:
        """Whether abandoned runs have not returned."""
        return self._abandoned and bool(self._runs)

    def begin(self, run: Run) -> None:
        """Give the run to an idle thread, or to a new one below the limit."""
        if len(self._threads) < min(len(self.in_hand), self.concurrency):
            self._start_thread()
        if not self._threads:
            now = self.clock()
            self.deliver(failed(run, "crash", NO_THREAD, started_at=now, finished_at=now))
            return
        local = LocalRun(self, run, on_stuck=partial(self._mark_stuck, run))
        self._runs[claim_of(run)] = local
        self._work.put(local)

    def _start_thread(self) -> None:
        name = f"run-{len(self._threads) + 1}"
        thread = threading.Thread(target=self._serve, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # too many threads, or too little memory, just now
            logger.warning("no thread can be started for a run: %s", error)
        else:
            self._threads.append(thread)

    def cancel(self, execution_id: int, attempt: int, reason: str) -> None:
        """Ask one run to stop. It stays in hand until it returns."""
        if local := self._runs.get((execution_id, attempt)):
            local.cancel(reason)

    def abandon(self) -> None:
        """Ask all runs to stop, and record their end: waiting for a thread might take for ever."""
        self._abandoned = True
        # A copy: threads remove their runs when they end.
        for local in list(self._runs.values()):
            if local.timed_out:
                self.deliver(self._timed_out(local))
            elif local.cancelled:
                self.deliver(self._cancelled(local))
            elif reason := self._stuck.get(claim_of(local.run)):
                self.deliver(self._unkillable(local, "crash", f"{reason}."))
            else:
                # In this order: a thread that ends at once would report a failure.
                self.deliver(lost(local.run, WORKER_STOPPED, charged=False))
                local.cancellation.request(WorkerStopping, WORKER_STOPPED)

    def close(self) -> None:
        """Stop the idle threads; busy ones end with their run, or with the process."""
        self._abandoned = True
        for _ in self._threads:
            self._work.put(None)
        # A thread that is busy may never end.
        if not self._runs:
            for thread in self._threads:
                thread.join()

    def _cancelled(self, local: LocalRun) -> Outcome:
        """Return the outcome of a cancelled run that is abandoned."""
        return cancelled(
            local.run,
            local.cancellation.reason,
            started_at=local.started_at,
            finished_at=self.clock(),
        )

    def _timed_out(self, local: LocalRun) -> Outcome:
        """Return the outcome of a timed-out run that is abandoned."""
        stuck = self._stuck.get(claim_of(local.run))
        reason = f"{stuck}." if stuck else timeout_reason(local.run)
        return self._unkillable(local, "timeout", reason)

    def _unkillable(self, local: LocalRun, category: str, reason: str) -> Outcome:
        """Return the outcome of a run that is abandoned because it does not end."""
        return failed(
            local.run,
            category,
            f"{reason} A thread cannot be killed, so the worker exited.",
            started_at=local.started_at,
            finished_at=self.clock(),
        )

    def _mark_stuck(self, run: Run, reason: str) -> None:
        with self._changing:
            if claim_of(run) not in self._runs:  # it has ended just now
                return
            self._stuck[claim_of(run)] = reason
        logger.error(
            "task=%s execution=%s: %s; its thread cannot be killed, so this worker claims no more "
            "executions and exits when its other runs have ended",
            run.task_name,
            run.execution_id,
            reason,
        )
        self.on_finished()

    def _serve(self) -> None:
        try:
            while (local := self._work.get()) is not None:
                outcome = self._outcome_of(local)
                # Before the ending is delivered: a transaction left open may hold the row.
                self._clean_up()
                with self._changing:
                    del self._runs[claim_of(local.run)]
                    self._stuck.pop(claim_of(local.run), None)
                self.deliver(outcome)
        finally:
            connections.close_all()

    def _outcome_of(self, local: LocalRun) -> Outcome:
        """Make an attempt. One that cannot be made has failed; the thread goes on."""
        try:
            close_old_connections()
            self._logging.restore(local.run.task_name)
            # A language or a time zone that a handler activates must not outlive its run.
            return copy_context().run(local.perform)
        except BaseException as error:  # noqa: BLE001 -- the thread must go on
            return ended(
                local.run,
                started_at=local.started_at,
                finished_at=self.clock(),
                **failure_of(error, caller=__name__),
            )

    def _clean_up(self) -> None:
        """Leave no transaction and no broken connection to the next run in this thread."""
        try:
            self._logging.restore()  # for the worker's own log
            drop_open_transactions()
            close_old_connections()
            reset_queries()  # which Django keeps under DEBUG
        except Exception:
            logger.exception(
                "the connections of a run could not be closed; the next run gets new ones"
            )
            for connection in connections.all(initialized_only=True):
                del connections[connection.alias]


def claim_of(run: Run) -> tuple[int, int]:
    """Return the key of an attempt: another of the same execution may follow it here."""
    return run.execution_id, run.attempt
