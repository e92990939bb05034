"""Run one execution of a task in the calling process, recorded like any other."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from django.db import connections

from scheduled_tasks.conf import app_settings
from scheduled_tasks.executors.base import MESSAGE_DELAY_SECONDS
from scheduled_tasks.executors.connections import drop_open_transactions
from scheduled_tasks.executors.inline import InlineExecutor
from scheduled_tasks.handlers.registry import registry
from scheduled_tasks.lifecycle import claiming, stopping
from scheduled_tasks.models import Execution, Worker
from scheduled_tasks.models.sql.transactions import AWAY
from scheduled_tasks.runtime.clock import Clock
from scheduled_tasks.runtime.messages import Message
from scheduled_tasks.runtime.runs import Ending, Outcome, Run
from scheduled_tasks.worker.announcements import announce_start
from scheduled_tasks.worker.heartbeat import Heartbeat
from scheduled_tasks.worker.result_writer import ResultWriter

logger = logging.getLogger(__name__)

#: Seconds until a failed write is tried again.
RETRY_SECONDS = 0.5


def run_here(
    execution: Execution,
    *,
    now: datetime | None = None,
    on_message: Callable[[Message], None] = lambda message: None,
) -> Execution:
    """Run an unsaved execution to its end and return it as recorded.

    It is saved as claimed, so that no worker claims it. This process has a worker row and a
    heartbeat meanwhile. The time is the database's, or starts at ``now``. ``on_message`` is called
    with each message of the run, at once.

    Messages are also written at once, and the run can be cancelled. Neither is possible when the
    caller is in a transaction, because other connections cannot see the execution.
    """
    worker = Worker.of_this_process()
    worker.handlers = sorted(registry.handlers)
    worker.label = f"runtask {worker.label}"
    worker.save(force_insert=True)
    heartbeat = Heartbeat(worker, Clock())
    heartbeat.beat(now)
    # A thread that beats would set a given time to that of the database.
    if now is None:
        heartbeat.start()
    try:
        run_for(worker, heartbeat, execution, on_message)
    finally:
        heartbeat.stop()
        worker.move_to(Worker.State.STOPPED)
    execution.refresh_from_db()
    return execution


def run_for(
    worker: Worker,
    heartbeat: Heartbeat,
    execution: Execution,
    on_message: Callable[[Message], None],
) -> None:
    # In a transaction, no other connection sees the execution, so no thread can write for it.
    inside = any(connection.in_atomic_block for connection in connections.all())
    claiming.create_claimed(execution, worker, heartbeat.clock.now())
    executor = InlineExecutor(
        concurrency=1, clock=heartbeat.clock.now, has_writer=not inside, observer=on_message
    )
    result_writer = ResultWriter(LastAttempts(executor), worker, heartbeat.clock)
    run = execution.as_run()
    announce_start(run)
    if inside:
        submit(run, executor)
        result_writer.flush()
        return
    with monitored(executor, result_writer):
        try:
            submit(run, executor)
        finally:
            # The caller has no transaction, so an open one was left by the handler. Its locks may
            # block the monitor.
            drop_open_transactions()
            connections.close_all()
    write_end(result_writer)


def submit(run: Run, executor: InlineExecutor) -> None:
    """Run it. Ctrl-C cancels it; a KeyboardInterrupt that the handler raises itself does not."""
    # Signals can be handled in the main thread only, and the project may handle this one itself.
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        executor.submit(run)
        return
    signal.signal(signal.SIGINT, lambda number, frame: executor.interrupt())
    try:
        executor.submit(run)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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


def write_end(result_writer: ResultWriter) -> None:
    """Write the ending of a run and its last messages; wait out a database outage.

    Give up after a lease: by then a worker has taken the execution over.
    """
    deadline = time.monotonic() + app_settings.LEASE
    while True:
        try:
            result_writer.flush()
            if not result_writer.unwritten:
                return
        except AWAY:
            if time.monotonic() > deadline:
                raise
            logger.warning("database error, trying again to write the end of the run")
            connections.close_all()
        time.sleep(RETRY_SECONDS)
        if time.monotonic() > deadline:
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
