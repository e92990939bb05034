"""Run one execution of a task in the calling process, recorded like any other."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from time import monotonic, sleep

from django.db import Error, connections

from scheduled_tasks.conf import app_settings
from scheduled_tasks.executors.base import MESSAGE_DELAY_SECONDS
from scheduled_tasks.executors.connections import drop_open_transactions
from scheduled_tasks.executors.inline import InlineExecutor
from scheduled_tasks.handlers.registry import registry
from scheduled_tasks.lifecycle import queueing, stopping
from scheduled_tasks.models import Execution, Worker
from scheduled_tasks.models.sql.transactions import AWAY
from scheduled_tasks.runtime.clock import Clock
from scheduled_tasks.runtime.messages import Message
from scheduled_tasks.runtime.runs import Ending, Outcome
from scheduled_tasks.worker.announcements import announce_start
from scheduled_tasks.worker.heartbeat import Heartbeat
from scheduled_tasks.worker.result_writer import ResultWriter

logger = logging.getLogger(__name__)

#: Seconds until a failed write is tried again.
RETRY_SECONDS = 0.5


class Interruption:
    """Carries the wish to stop from a signal handler to the run in this process.

    Before the run, and after its end is written, a request exits with 1.
    """

    def __init__(self) -> None:
        self.requests = 0
        self._receive: Callable[[str], None] | None = None

    def request(self, reason: str) -> None:
        """Ask the run to stop, for a reason that is a sentence; safe in a signal handler."""
        self.requests += 1
        if self._receive is None:
            raise SystemExit(1)
        self._receive(reason)

    @contextmanager
    def received_by(self, receive: Callable[[str], None]) -> Iterator[None]:
        """Pass requests on during the block."""
        self._receive = receive
        try:
            yield
        finally:
            self._receive = None


def run_here(
    execution: Execution,
    *,
    now: datetime | None = None,
    on_message: Callable[[Message], None] = lambda message: None,
    interruption: Interruption | None = None,
) -> Execution:
    """Run an unsaved execution to its end and return it as recorded.

    It is saved as claimed, so that no worker claims it. This process has the row of a worker and a
    heartbeat meanwhile: if it dies, workers find out as they do of each other. The time is the
    database's, or starts at ``now``. ``on_message`` is called with each message of the run, at
    once.

    Messages are also written at once, and the run can be cancelled. Neither is possible when the
    caller is in a transaction, because other connections cannot see the execution.
    """
    worker = Worker.of_this_process()
    worker.handlers = sorted(registry.handlers)
    worker.label = f"runtask {worker.label}"
    heartbeat = Heartbeat(worker, Clock())
    try:
        worker.save(force_insert=True)
        heartbeat.beat(now)
        # A thread that beats would set a given time to that of the database.
        if now is None:
            heartbeat.start()
        run_for(worker, heartbeat, execution, on_message, interruption or Interruption())
    finally:
        heartbeat.stop()
        # What it could not record is taken back, as from a lost worker.
        with suppress(Error):
            worker.delete()
    execution.refresh_from_db()
    return execution


def run_for(
    worker: Worker,
    heartbeat: Heartbeat,
    execution: Execution,
    on_message: Callable[[Message], None],
    interruption: Interruption,
) -> None:
    # In a transaction, no other connection sees the execution, so no thread can write for it.
    inside = any(connection.in_atomic_block for connection in connections.all())
    executor = InlineExecutor(
        concurrency=1, clock=heartbeat.clock.now, has_writer=not inside, observer=on_message
    )
    result_writer = ResultWriter(LastAttempts(executor), worker, heartbeat.clock)
    # From before the claim, so that no claimed execution is left without an end.
    with interruption.received_by(executor.interrupt):
        queueing.create_claimed(execution, worker, heartbeat.clock.now())
        run = execution.as_run()
        announce_start(run)
        if inside:
            executor.submit(run)
            result_writer.flush()
            return
        with monitored(executor, result_writer):
            try:
                executor.submit(run)
            finally:
                # The caller has no transaction, so an open one was left by the handler. Its locks
                # may block the monitor.
                drop_open_transactions()
                connections.close_all()
        write_end(result_writer, interruption)


@contextmanager
def monitored(executor: InlineExecutor, result_writer: ResultWriter) -> Iterator[None]:
    """Run a monitor during the block."""
    monitor = RunMonitor(executor, result_writer)
    executor.on_finished = monitor.due.set
    monitor.start()
    try:
        yield
    finally:
        monitor.stop()


def write_end(result_writer: ResultWriter, interruption: Interruption) -> None:
    """Write the ending of a run and its last messages; wait out a database outage.

    Give up after a lease, when a worker has taken the execution over, and when asked to stop.
    """
    asked_before = interruption.requests
    deadline = monotonic() + app_settings.LEASE
    while True:
        try:
            result_writer.flush()
            if not result_writer.unwritten:
                return
        except AWAY:
            if monotonic() > deadline or interruption.requests > asked_before:
                raise
            logger.warning("database error, trying again to write the end of the run")
            connections.close_all()
        sleep(RETRY_SECONDS)
        if monotonic() > deadline:
            return


class LastAttempts:
    """Delivers what the executor does, without retries: the person at the terminal decides."""

    def __init__(self, executor: InlineExecutor) -> None:
        self.messages = executor.messages
        self.executor = executor

    def finished(self) -> list[Ending]:
        """Return the endings since the last call, changed so that no retry follows."""
        return [
            replace(ending, retryable=False, retry_after=None)
            if isinstance(ending, Outcome)
            else ending
            for ending in self.executor.finished()
        ]


class RunMonitor(threading.Thread):
    """A thread that writes messages during the run, and forwards a cancellation to it."""

    def __init__(self, executor: InlineExecutor, result_writer: ResultWriter) -> None:
        super().__init__(name="run-monitor", daemon=True)
        self.executor = executor
        self.result_writer = result_writer
        #: Set when something must be written at once.
        self.due = threading.Event()
        self._over = threading.Event()

    def run(self) -> None:
        """Check at intervals, and at once when ``due`` is set."""
        try:
            while not self._over.is_set():
                self.due.wait(MESSAGE_DELAY_SECONDS)
                self.due.clear()
                self.check()
        finally:
            connections.close_all()

    def check(self) -> None:
        """Write messages and forward a cancellation; keep what cannot be written."""
        try:
            self.result_writer.flush_messages()
            for cancelled in stopping.asked_to_stop(str(self.result_writer.worker.pk)):
                self.executor.cancel(*cancelled)
        except AWAY as error:
            logger.debug("messages of a run cannot be written now: %s", error)
        except Exception:
            logger.exception("messages of a run cannot be written")

    def stop(self) -> None:
        """Stop the thread and wait for it."""
        self._over.set()
        self.due.set()
        self.join()
