"""What happens in the process of a run."""

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

from django.db import connections

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
    LEASE_LOST,
    RUN_CANCELLED,
    WORKER_STOPPED,
    timeout_reason,
)
from scheduled_tasks.executors.process import operating_system
from scheduled_tasks.executors.process.fork_server.standard_streams import divert, flush_below
from scheduled_tasks.executors.process.wire import (
    CHUNK_BYTES,
    Decoder,
    Frame,
    encode,
    packed,
    packed_message,
    unpacked,
)
from scheduled_tasks.executors.runner import Call, perform
from scheduled_tasks.runtime.cancellation import Cancellation
from scheduled_tasks.runtime.clock import Clock
from scheduled_tasks.runtime.messages import Message
from scheduled_tasks.runtime.runs import Run

#: Why a child is asked to stop: one byte before the SIGTERM that says look.
TIMEOUT, REFUSED, ABANDONED, CANCELLED = b"T", b"R", b"A", b"C"

#: How often a thread that waits for an answer looks whether the run has to stop, in seconds.
POLL_SECONDS = 0.2

#: The exit code of a child whose own machinery failed.
BROKEN = 70


class ChildProcess:
    """The process of a run: makes it, or several one after the other, and ends."""

    def __init__(self, stream: socket.socket, orders: int, trace: int) -> None:
        self.stream = stream
        self.orders = orders
        self.trace = trace
        self._decoder = Decoder()
        self._frames: list[Frame] = []
        self._sending = threading.Lock()
        self._cancellation = Cancellation()
        self._order: tuple[type[RunInterrupted], str] | None = None
        self._reasons: Mapping[bytes, tuple[type[RunInterrupted], str]] = {}

    def live(self, server: int, pipes: Mapping[str, int], *, runs: int) -> NoReturn:
        """Make so many runs, or fewer if the server goes away; does not return.

        ``pipes`` are where standard output and error are to lead.
        """
        code = BROKEN
        try:
            self.settle(server)
            divert(pipes)
            rehearse()
            while runs and (frame := self.receive("run")) is not None:
                operating_system.set_name(f"run-{frame['run']['execution_id']}")
                self.make(frame)
                runs -= 1
            connections.close_all()
            logging.shutdown()
            code = 0
        except BrokenPipeError:
            pass  # the server is gone, and whoever it worked for
        except BaseException:  # noqa: BLE001 -- nothing may return into the server's code
            traceback.print_exc()
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def settle(self, server: int) -> None:
        """Become a process that can be told to stop, and that ends with the server."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, self.on_terminate)
        operating_system.die_with(server)
        operating_system.adopt_orphans()
        operating_system.raise_oom_score()
        os.set_blocking(self.orders, False)
        faulthandler.enable(self.trace)
        faulthandler.register(operating_system.DUMP_SIGNAL, self.trace)
        let_forks_end_on_sigterm()

    def make(self, frame: Frame, *, call: Call | None = None) -> None:
        """Make one run, of its handler or of ``call``, and send how it ended."""
        run = unpacked(Run, frame["run"])
        self._order = None
        self._cancellation = Cancellation()
        self._reasons = {
            TIMEOUT: (TimeLimitExceeded, timeout_reason(run) if run.timeout else ""),
            REFUSED: (LeaseLost, LEASE_LOST),
            ABANDONED: (WorkerStopping, WORKER_STOPPED),
            CANCELLED: (RunCancelled, RUN_CANCELLED),
        }
        self.heed_order()  # one that came before this run was known here
        self.send({"kind": "begun"})
        recorder = PipeRecorder(self, self._cancellation)
        clock = Clock.at(frame["clock"])
        outcome = perform(
            run,
            clock=clock.now,
            recorder=recorder,
            cancellation=self._cancellation,
            call=call,
            alone=True,
        )
        self._reasons = {}
        if os.getpid() != recorder.owner:
            # Forked by the handler, and come back out of it: this run is not its own.
            os._exit(outcome.status != "success")
        recorder.close()
        flush_below()
        drop_open_transactions()
        self.send({"kind": "outcome", "outcome": packed(outcome)})

    def on_terminate(self, number: int, frame: FrameType | None) -> None:
        """Interrupt the handler if the server has said why.

        A SIGTERM from anybody else, as a service manager sends one to every process of a
        service, changes nothing: the worker decides what becomes of its runs. What is asked
        between two runs is left for the next, which it is about.
        """
        if self._reasons:
            self.heed_order()

    def heed_order(self) -> None:
        """Interrupt the handler if the server has asked for it, as often as this is called."""
        with suppress(BlockingIOError):
            if code := os.read(self.orders, 1):
                self._order = self._reasons.get(code)
        if self._order is not None:
            self._cancellation.request(*self._order)

    def send(self, frame: Mapping[str, Any]) -> None:
        """Send a frame whole, whatever comes meanwhile."""
        with self._cancellation.shielded(), self._sending:
            self.stream.sendall(encode(frame))

    def receive(self, kind: str, *, look_up: Callable[[], None] | None = None) -> Frame | None:
        """Wait for a frame of that kind, forgetting others; None says that the server is gone.

        An interruption while it waits loses nothing that comes after. Threads that no signal
        interrupts call ``look_up`` now and then.
        """
        while True:
            while self._frames:
                frame = self._frames.pop(0)
                if frame["kind"] == kind:
                    return frame
            while not select.select([self.stream], [], [], POLL_SECONDS if look_up else None)[0]:
                if look_up:
                    look_up()
            with self._cancellation.shielded():
                data = self.stream.recv(CHUNK_BYTES)
                self._frames += self._decoder.feed(data)
            if not data:
                return None


def rehearse() -> None:
    """Make a run of nothing, as somebody who listens to nobody.

    What a run needs of the server's memory is copied when it is first touched, which takes longer
    than all the rest of a short run.
    """
    clock = Clock()
    nothing = Run(
        execution_id=0, attempt=0, task_name="", handler="", scheduled_for=clock.now(), trigger=""
    )
    stage, audience = socket.socketpair()
    orders, nobody = os.pipe()
    os.set_blocking(orders, False)
    with stage, audience:
        actor = ChildProcess(stage, orders, trace=-1)
        audience.sendall(encode({"kind": "run", "run": packed(nothing), "clock": clock.base}))
        if frame := actor.receive("run"):
            actor.make(frame, call=lambda run, context: None)
    os.close(orders)
    os.close(nobody)


def let_forks_end_on_sigterm() -> None:
    """Let what a handler forks, as multiprocessing does, be ended as it expects.

    A SIGTERM that comes before the forked process is ready for it is held back until then: the
    interpreter forgets signals that come while it forks.
    """
    masks = threading.local()

    def hold_back() -> None:
        masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def let_through() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.before)

    def end_on_sigterm() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        let_through()

    os.register_at_fork(
        before=hold_back, after_in_parent=let_through, after_in_child=end_on_sigterm
    )


class PipeRecorder:
    """Sends what a run says to the server, which passes it on to the worker."""

    def __init__(self, child: ChildProcess, cancellation: Cancellation) -> None:
        self.child = child
        self.cancellation = cancellation
        self.owner = os.getpid()
        self._confirming = threading.Lock()
        self._confirmed = 0

    def send(self, message: Message) -> None:
        """Hand a message over and go on; what a forked process of the handler's says is lost."""
        if os.getpid() == self.owner:
            self.raise_if_refused()
            self.child.send({"kind": "message", "message": packed_message(message)})

    def confirm(self, message: Message) -> None:
        """Hand a message over and wait until it is written."""
        if os.getpid() != self.owner:
            return
        if holds_the_only_write_lock():
            self.send(message)
            return
        # What is asked of the run while it waits ends the waiting; what was before does not.
        look_up = None if self.cancellation.requested else self.cancellation.check
        with self._confirming:
            self.raise_if_refused()
            self._confirmed += 1
            number = self._confirmed
            frame = {"kind": "message", "message": packed_message(message), "number": number}
            self.child.send(frame)
            while True:
                answer = self.child.receive("answer", look_up=look_up)
                if answer is None or not answer["accepted"]:
                    raise LeaseLost(LEASE_LOST)
                if answer["number"] == number:
                    return

    def close(self) -> None:
        """Let nothing more be said, as by a thread that the handler has left behind."""
        self.owner = 0

    def raise_if_refused(self) -> None:
        if self.cancellation.error is LeaseLost:
            raise LeaseLost(LEASE_LOST)
