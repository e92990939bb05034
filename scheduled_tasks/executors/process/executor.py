"""Runs each attempt in a process of its own, which can be bounded and killed."""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from datetime import datetime
from functools import partial
from typing import Any

from django.db import connections

from scheduled_tasks.conf import app_settings
from scheduled_tasks.executors.base import Executor, ExecutorBrokenError
from scheduled_tasks.executors.endings import lost, still_running_reason
from scheduled_tasks.executors.process import operating_system
from scheduled_tasks.executors.process.exit_reports import ending_of
from scheduled_tasks.executors.process.fork_server import liveness
from scheduled_tasks.executors.process.fork_server.client import ForkServerProcess
from scheduled_tasks.executors.process.run_output import RunOutput
from scheduled_tasks.executors.process.wire import Frame, message_in, packed
from scheduled_tasks.runtime.clock import Clock
from scheduled_tasks.runtime.logs.capture import log_for_run
from scheduled_tasks.runtime.logs.console import level_on_console
from scheduled_tasks.runtime.logs.labels import label_all
from scheduled_tasks.runtime.messages import Envelope, ExecutorNote, LogLine, Message
from scheduled_tasks.runtime.runs import Run
from scheduled_tasks.runtime.wording import duration

logger = logging.getLogger(__name__)

#: At most this many children wait for runs: each takes a few megabytes.
MAX_SPARES = 4
#: How long a process may take to begin its run: a fresh interpreter loads the project first.
START_TIMEOUT_SECONDS = 120.0
#: A server that ends before it is loaded may have been killed, so it is started once again.
MAX_EARLY_ENDS = 2
CANNOT_LOAD = (
    "The fork server could not load the project; see the error above. "
    "SCHEDULED_TASKS['EXECUTOR'] = 'thread' works without a fork server."
)
CANNOT_START = "The fork server could not be started"
SERVER_KILLED = "The fork server was killed."
#: How long a run may take to clean up when its worker is stopped.
STOPPING_GRACE_SECONDS = 1.0


class ProcessExecutor(Executor):
    """Runs each attempt in its own process, forked from a fork server that runs no handlers itself.

    A run can be killed, with the processes that it has started, at its timeout, at its memory
    limit, and when this worker stops, dies, or cannot renew its lease. The end of a run is
    reported only when nothing of it is left.
    """

    can_kill = True
    sends_begun = True
    can_limit_memory = operating_system.LISTS_PROCESSES

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._server: ForkServerProcess | None = None
        self._ready = threading.Event()
        self._problem = ""
        self._closed = False
        self._ended_early = 0
        self._changing_server = threading.Lock()
        # The first beat sets it, and comes before the first claim.
        self._lease_until = float("inf")
        self._begun: dict[int, datetime] = {}
        #: The executions whose runs are being killed because what they sent is invalid.
        self._broken: set[int] = set()
        self._outputs: dict[int, RunOutput] = {}
        self._unlogged: queue.SimpleQueue[tuple[Run, LogLine]] = queue.SimpleQueue()

    def open(self) -> None:
        """Start the fork server and wait until it is loaded. Raise ExecutorBrokenError."""
        if self._server is None:
            label_all()
            try:
                with self._changing_server:
                    self._start_server()
            except OSError as error:
                raise ExecutorBrokenError(f"{CANNOT_START}: {error}.") from None
        if not self._ready.wait(liveness.LOAD_TIMEOUT_SECONDS):
            within = duration(liveness.LOAD_TIMEOUT_SECONDS)
            self._problem = f"The fork server did not load within {within}."
        self.check()

    def check(self) -> None:
        """Raise ExecutorBrokenError if it can run nothing. Kill a fork server that hangs."""
        if self._problem:
            raise ExecutorBrokenError(self._problem)
        if self._server is not None:
            self._server.check(app_settings.LEASE)

    @property
    def free(self) -> int:
        """The number of further runs that it accepts now: none while its fork server loads."""
        return super().free if self._ready.is_set() else 0

    def submit(self, run: Run) -> None:
        """Accept a run, for this fork server or the next, never for both."""
        with self._changing_server:
            super().submit(run)

    def begin(self, run: Run) -> None:
        # The run tells the database's time by this clock, without a query.
        clock = Clock()
        clock.set(self.clock())
        self._post({"kind": "run", "run": packed(run), "clock": clock.base})

    def extend_lease(self, until: float) -> None:
        """Tell the fork server until when runs may continue."""
        self._lease_until = until
        self._post({"kind": "lease", "until": until})

    def messages(self) -> list[Envelope]:
        """Return the messages since the last call, and receive more."""
        sent = super().messages()
        # Not in the thread that receives them: a slow logging handler would block it.
        for _ in range(self._unlogged.qsize()):
            log_for_run(*self._unlogged.get())
        if self._server is not None:
            # There is room again, which the thread waits for.
            self._server.wake()
        return sent

    def cancel(self, execution_id: int, attempt: int, reason: str) -> None:
        """Ask one run to stop, and kill it after the grace period."""
        claim = {"execution_id": execution_id, "attempt": attempt}
        self._post({**claim, "kind": "cancel", "reason": reason})

    def abandon(self) -> None:
        """Interrupt all runs, and kill those that have not ended a moment later."""
        self._post({"kind": "abandon", "grace": STOPPING_GRACE_SECONDS})

    def close(self) -> None:
        """Kill all runs, stop the fork server, and wait until nothing of it is left."""
        with self._changing_server:
            self._closed = True
        if self._server is not None:
            self._server.close()

    def _post(self, frame: Frame) -> None:
        if self._server is not None:
            self._server.post(frame)

    # Below: what happens in the thread of ForkServerProcess.

    def _start_server(self) -> None:
        server = ForkServerProcess(
            {
                "worker": os.getpid(),
                "argv": sys.argv,
                "log_level": level_on_console(),
                "databases": {alias: address_of(alias) for alias in connections},
                "spares": min(self.concurrency, MAX_SPARES),
                "grace": app_settings.KILL_GRACE,
                "start_timeout": START_TIMEOUT_SECONDS,
                "executions_per_child": app_settings.MAX_EXECUTIONS_PER_CHILD,
                "lease_until": self._lease_until,
            },
            may_receive=lambda: not self.backlogged,
            on_frame=self._handle_frame,
            # What is claimed before the next server is loaded would only wait for it.
            on_gone=self._ready.clear,
            on_end=self._handle_server_end,
        )
        server.start()
        self._server = server

    def _handle_frame(self, frame: Frame) -> None:
        if frame["kind"] == "ready":
            self._handle_ready(frame["threads"])
            return
        run = self.in_hand.get(frame["execution_id"])
        if run is None or run.attempt != frame["attempt"]:
            return
        match frame["kind"]:
            case "begun":
                # A process that is killed cannot report when its run began.
                self._begun[run.execution_id] = self.clock()
            case "message":
                self._handle_message(run, frame)
            case "output":
                self._handle_output(run, frame)
            case "timeout":
                note = ExecutorNote(text=still_running_reason(run))
                self.receive(run, note, partial(self._answer, run, None))
            case "ended":
                begun = self._begun.pop(run.execution_id, None)
                self._broken.discard(run.execution_id)
                if output := self._outputs.pop(run.execution_id, None):
                    output.end()
                self.deliver(ending_of(run, frame, begun or self.clock(), self.clock()))

    def _handle_ready(self, threads: list[str]) -> None:
        if threads:
            logger.warning(
                "loading the project started threads (%s), which do not survive a fork; each run "
                "starts in a fresh interpreter, which takes about a second",
                ", ".join(threads),
            )
        self._ready.set()
        self.on_finished()

    def _handle_message(self, run: Run, frame: Frame) -> None:
        if run.execution_id in self._broken:
            return
        number = frame.get("number")
        try:
            message = message_in(frame["body"])
            self.receive(run, message, partial(self._answer, run, number))
        except ValueError as error:
            self._break_off(run, f"an invalid message: {error}")
            return
        if number is not None:
            self.on_finished()

    def _break_off(self, run: Run, flaw: str) -> None:
        """Have a run killed that has sent what no run sends."""
        self._broken.add(run.execution_id)
        claim = {"execution_id": run.execution_id, "attempt": run.attempt}
        self._post({**claim, "kind": "break", "reason": flaw})

    def _handle_output(self, run: Run, frame: Frame) -> None:
        """Log what a run writes below Python, and let the server read on."""
        output = self._outputs.get(run.execution_id)
        if output is None:
            output = RunOutput(run, partial(self._send_output, run), self.clock)
            self._outputs[run.execution_id] = output
        data = frame.get("body", b"")
        output.receive(frame["stream"], data, omitted=frame["omitted"])
        claim = {"execution_id": run.execution_id, "attempt": run.attempt}
        read = {"kind": "output_read", "stream": frame["stream"], "full": output.full}
        self._post({**claim, **read})

    def _send_output(self, run: Run, message: Message) -> None:
        if isinstance(message, LogLine) and message.unlogged:
            self._unlogged.put((run, message))
        self.receive(run, message, partial(self._answer, run, None))

    def _answer(self, run: Run, number: int | None, accepted: bool) -> None:  # noqa: FBT001
        if number is not None or not accepted:
            self._post(
                {
                    "kind": "answer",
                    "execution_id": run.execution_id,
                    "attempt": run.attempt,
                    "number": number,
                    "accepted": accepted,
                }
            )

    def _handle_server_end(self) -> None:
        """Report the runs of the server that has ended as lost, and start another server."""
        with self._changing_server:
            if self._closed or self._server is None:
                return
            self._ended_early = 0 if self._server.liveness.loaded else self._ended_early + 1
            if self._ended_early < MAX_EARLY_ENDS:
                self._replace_server(self._server.unsent_frames())
            else:
                # Set before ``open`` is released, which raises it.
                self._problem = CANNOT_LOAD
                self._ready.set()
        self.on_finished()

    def _replace_server(self, unsent: list[Frame]) -> None:
        """Start another server. It gets the runs that were never sent to the first."""
        logger.error("the fork server has ended and is restarted; its runs were killed")
        self._begun.clear()
        self._broken.clear()
        self._outputs.clear()
        runs = [frame["run"] for frame in unsent if frame["kind"] == "run"]
        kept = {(run["execution_id"], run["attempt"]) for run in runs}
        for run in list(self.in_hand.values()):
            if (run.execution_id, run.attempt) not in kept:
                self.deliver(lost(run, SERVER_KILLED, charged=True))
        try:
            self._start_server()
        except OSError as error:
            self._problem = f"{CANNOT_START}: {error}."
            return
        for frame in unsent:
            if frame["kind"] != "lease":  # the new server was started with a later lease
                self._post(frame)


def address_of(alias: str) -> dict[str, str | None]:
    """Return the address of a database as this process uses it, such as a test database."""
    settings = connections[alias].settings_dict
    return {
        # As text, because the name of a SQLite database is often a Path, which JSON cannot hold.
        key: None if settings[key] is None else str(settings[key])
        for key in ("NAME", "USER", "PASSWORD", "HOST", "PORT")
    }
