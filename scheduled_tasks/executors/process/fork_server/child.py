"""What happens in the process of a run: it makes runs and stops them when it is asked to."""

from __future__ import annotations

import faulthandler
import logging
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

from django.db import connections, reset_queries

from scheduled_tasks.exceptions import (
    LeaseLost,
    RunCancelled,
    RunInterrupted,
    TimeLimitExceeded,
    WorkerStopping,
)
from scheduled_tasks.executors.connections import (
    drop_open_transactions,
    holds_the_only_write_lock,
)
from scheduled_tasks.executors.endings import (
    BROKEN,
    LEASE_LOST,
    RUN_CANCELLED,
    WORKER_STOPPED,
    timeout_reason,
)
from scheduled_tasks.executors.process import operating_system
from scheduled_tasks.executors.process.fork_server.standard_streams import flush_buffers, redirect
from scheduled_tasks.executors.process.memory import resident_of
from scheduled_tasks.executors.process.wire import (
    CHUNK_BYTES,
    Decoder,
    Frame,
    encode,
    message_body,
    outcome_body,
    packed,
    unpacked,
)
from scheduled_tasks.executors.runner import Call, perform
from scheduled_tasks.runtime.cancellation import Cancellation
from scheduled_tasks.runtime.clock import Clock
from scheduled_tasks.runtime.logs.shared_logging import SharedLogging
from scheduled_tasks.runtime.messages import Message
from scheduled_tasks.runtime.runs import Run
from scheduled_tasks.runtime.validation import checked_message

#: Why a child is asked to stop: one byte in its stop pipe, written before the SIGTERM.
TIMEOUT, REFUSED, ABANDONED, CANCELLED = b"T", b"R", b"A", b"C"

#: How often a thread that waits for an answer checks whether the run has to stop.
POLL_SECONDS = 0.2


class ChildProcess:
    """Makes one run, or several one after the other, and exits."""

    def __init__(self, stream: socket.socket, stop_pipe: int, trace: int) -> None:
        self.stream = stream
        self.stop_pipe = stop_pipe
        self.trace = trace
        self.pid = os.getpid()
        self.prepared = False
        self._decoder = Decoder()
        self._frames: list[Frame] = []
        self._sending = threading.Lock()
        self._cancellation = Cancellation()
        self._stop_request: tuple[type[RunInterrupted], str] | None = None
        self._reasons: Mapping[bytes, tuple[type[RunInterrupted], str]] = {}

    def serve(self, server: int, pipes: Mapping[str, int], *, runs: int) -> NoReturn:
        """Make this many runs, or fewer if the server goes away, and exit.

        ``pipes`` receive standard output and error.
        """
        code = BROKEN
        try:
            self.prepare(server)
            redirect(pipes)
            if not self.has_frame():  # with a run already there, a rehearsal only delays it
                rehearse()
            shared = SharedLogging()
            while runs and (frame := self.receive("run")) is not None:
                shared.restore(frame["run"]["task_name"])
                operating_system.set_name(f"run-{frame['run']['execution_id']}")
                self.make_run(frame)
                reset_queries()  # which Django keeps under DEBUG
                runs -= 1
            connections.close_all()
            logging.shutdown()
            code = 0
        except BrokenPipeError:
            pass  # the server is gone, and with it its worker
        except BaseException:  # noqa: BLE001 -- nothing may return into the server's code
            traceback.print_exc()
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            # sys.exit() would wait for threads that the handler has left behind.
            os._exit(code)

    def prepare(self, server: int) -> None:
        """Install the signal handlers, and arrange to die with the server."""
        self.handle_signals()
        self.prepared = True
        operating_system.die_with(server)
        operating_system.adopt_orphans()
        operating_system.raise_oom_score()
        # A signal handler reads it, and must not wait: a SIGTERM may come without a byte.
        os.set_blocking(self.stop_pipe, False)
        restore_signals_in_forks()

    def handle_signals(self) -> None:
        """Install the signal handlers, also in place of those that a handler has left behind."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        # It would write into the server's pipe, or into whatever has its number by now.
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in operating_system.STOP_SIGNALS:
            # Not SIG_IGN, which programs that the handler starts would inherit.
            signal.signal(number, lambda number, frame: None)
        signal.signal(signal.SIGTERM, self.on_sigterm)
        faulthandler.enable(self.trace)
        faulthandler.register(operating_system.DUMP_SIGNAL, self.trace)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def make_run(self, frame: Frame, *, call: Call | None = None) -> None:
        """Make one run, of its handler or of ``call``, and send how it ended."""
        run = unpacked(Run, frame["run"])
        self._stop_request = None
        self._cancellation = Cancellation(self.accept_stop_request)
        self._reasons = {
            TIMEOUT: (TimeLimitExceeded, timeout_reason(run) if run.timeout else ""),
            REFUSED: (LeaseLost, LEASE_LOST),
            ABANDONED: (WorkerStopping, WORKER_STOPPED),
            CANCELLED: (RunCancelled, RUN_CANCELLED),
        }
        self.check_stop_request()  # one may have come before the run did
        self.send({"kind": "begun", "resident": resident_of(os.getpid())})
        recorder = PipeRecorder(self, self._cancellation)
        clock = Clock.at(frame["clock"])
        outcome = perform(
            run,
            clock=clock.now,
            recorder=recorder,
            cancellation=self._cancellation,
            call=call,
            alone=True,
            on_returned=self.end_handler,
        )
        # A request from here on stays in the pipe, for the next run.
        self._reasons = {}
        if os.getpid() != recorder.owner:
            # A process that the handler forked has returned from the handler.
            os._exit(outcome.status != "success")
        recorder.close()
        # Before the outcome: when it arrives, the server reads what is left in the pipes.
        flush_buffers()
        # Before the outcome, too: an open transaction may hold the row to write.
        drop_open_transactions()
        self.send({"kind": "outcome", "body": outcome_body(outcome)})

    def end_handler(self) -> None:
        """Tell the server that the handler has ended: the rest does not count as its time."""
        # A process that the handler has forked may return from the handler, too.
        if os.getpid() != self.pid:
            return
        if self.prepared:
            self.handle_signals()
        with suppress(OSError):  # sending the outcome fails as well, and ends the process
            self.send({"kind": "returned"})

    def on_sigterm(self, number: int, frame: FrameType | None) -> None:
        """Interrupt the handler if the server has said why.

        A SIGTERM from elsewhere changes nothing, like the other signals that ask for an end: a
        service manager sends them to every process of a service, and the worker decides what
        becomes of its runs. A request that comes between
        two runs is meant for the next one.
        """
        if self._reasons:
            self.check_stop_request()

    def check_stop_request(self) -> None:
        """Interrupt the handler if the server has requested it; again at each call."""
        self.read_stop_request()
        if self._stop_request is not None:
            self._cancellation.request(*self._stop_request)

    def accept_stop_request(self) -> None:
        """Learn of a request whose signal the handler ignores, or handles itself."""
        # A process that the handler has forked shares the pipe; between runs it is for the next.
        if os.getpid() == self.pid and self._reasons:
            self.read_stop_request()
            if self._stop_request is not None:
                self._cancellation.accept(*self._stop_request)

    def read_stop_request(self) -> None:
        with suppress(OSError):  # there is nothing, or the handler has closed it
            if code := os.read(self.stop_pipe, 1):
                self._stop_request = self._reasons.get(code)

    def send(self, frame: Mapping[str, Any]) -> None:
        """Send a whole frame, even if the handler is interrupted meanwhile."""
        # A frame that is sent in part would make the rest of the stream unreadable.
        with self._cancellation.shielded(), self._sending:
            self.stream.sendall(encode(frame))

    def has_frame(self) -> bool:
        """Whether the server has sent something that is not received yet."""
        return bool(select.select([self.stream], [], [], 0)[0])

    def receive(self, kind: str, *, poll: Callable[[], None] | None = None) -> Frame | None:
        """Wait for a frame of this kind and drop others. Return None if the server is gone.

        An interruption while it waits loses no later frame. ``poll`` is called now and then, for
        threads that no signal interrupts.
        """
        while True:
            while self._frames:
                frame = self._frames.pop(0)
                if frame["kind"] == kind:
                    return frame
            while not select.select([self.stream], [], [], POLL_SECONDS if poll else None)[0]:
                if poll:
                    poll()
            with self._cancellation.shielded():
                data = self.stream.recv(CHUNK_BYTES)
                self._frames += self._decoder.feed(data)
            if not data or self._decoder.flaw:
                return None


def rehearse() -> None:
    """Make a run that does nothing, over a socket pair whose other end is not read.

    Memory that a run shares with the server is copied when it is first written to, which takes
    longer than everything else in a short run. The rehearsal writes to it in advance.
    """
    clock = Clock()
    nothing = Run(
        execution_id=0, attempt=0, task_name="", handler="", scheduled_for=clock.now(), trigger=""
    )
    child_end, server_end = socket.socketpair()
    stop_pipe, unused = os.pipe()
    os.set_blocking(stop_pipe, False)
    with child_end, server_end:
        child = ChildProcess(child_end, stop_pipe, trace=-1)
        server_end.sendall(encode({"kind": "run", "run": packed(nothing), "clock": clock.base}))
        if frame := child.receive("run"):
            child.make_run(frame, call=lambda run, context: None)
    os.close(stop_pipe)
    os.close(unused)


def restore_signals_in_forks() -> None:
    """Restore the usual actions of signals in processes that a handler forks.

    multiprocessing relies on that of SIGTERM. The signals are blocked during the fork, because the
    interpreter forgets those that arrive while it forks.
    """
    masks = threading.local()

    def block() -> None:
        masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, operating_system.STOP_SIGNALS)

    def unblock() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.before)

    def restore() -> None:
        for number in operating_system.STOP_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        unblock()

    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=restore)


class PipeRecorder:
    """Sends the messages of a run to the server, which forwards them to the worker."""

    def __init__(self, child: ChildProcess, cancellation: Cancellation) -> None:
        self.child = child
        self.cancellation = cancellation
        self.owner = os.getpid()
        self._confirming = threading.Lock()
        self._confirmed = 0

    def send(self, message: Message) -> None:
        """Send a message; those of a process that the handler has forked are dropped."""
        if os.getpid() == self.owner:
            self.raise_if_refused()
            self.child.send({"kind": "message", "body": message_body(checked_message(message))})

    def confirm(self, message: Message) -> None:
        """Send a message and wait until it is written."""
        if os.getpid() != self.owner:
            return
        if holds_the_only_write_lock():
            self.send(message)
            return
        # A stop that is requested while it waits ends the wait; an earlier one does not.
        poll = None if self.cancellation.requested else self.cancellation.check
        with self._confirming:
            self.raise_if_refused()
            self._confirmed += 1
            number = self._confirmed
            body = message_body(checked_message(message))
            self.child.send({"kind": "message", "number": number, "body": body})
            while True:
                answer = self.child.receive("answer", poll=poll)
                if answer is None or not answer["accepted"]:
                    raise LeaseLost(LEASE_LOST)
                if answer["number"] == number:
                    return

    def close(self) -> None:
        """Drop later messages, as those of a thread that the handler has left behind."""
        self.owner = 0

    def raise_if_refused(self) -> None:
        if self.cancellation.error is LeaseLost:
            raise LeaseLost(LEASE_LOST)
