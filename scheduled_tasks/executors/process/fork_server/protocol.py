"""What a run's process may send, and in which order. A process that sends anything else is killed.

Its body is not read here: the worker reads it, and asks for a run to be broken off whose reports
are invalid. So nothing that a run sends takes the server more time than its length.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from scheduled_tasks.executors.endings import FINISH_SECONDS
from scheduled_tasks.executors.process.fork_server.child_handle import ChildHandle
from scheduled_tasks.executors.process.fork_server.reporter import RunReporter
from scheduled_tasks.executors.process.fork_server.timeouts import stop_run
from scheduled_tasks.executors.process.wire import Frame
from scheduled_tasks.runtime.validation import quoted

#: A child whose unread answers take more room than this does not read them.
MAX_UNREAD_ANSWERS_BYTES = 1 << 20


class RunProtocol:
    """Follows each run by its frames: begun, messages, returned, outcome.

    ``on_outcome`` is called with a child whose run has reported how it ended.
    """

    def __init__(
        self, reporter: RunReporter, *, on_outcome: Callable[[ChildHandle], object]
    ) -> None:
        self.reporter = reporter
        self.on_outcome = on_outcome

    def receive(self, child: ChildHandle) -> bool:
        """Handle the frames that a child has sent. Return False when there will be no more."""
        frames = child.channel.receive()
        for frame in frames or ():
            self.handle(child, frame)
        if child.channel.decoder.flaw:
            self.break_off(child, child.channel.decoder.flaw)
        return frames is not None and not child.channel.decoder.flaw

    def handle(self, child: ChildHandle, frame: Frame) -> None:
        # Threads that a handler has left behind may send messages later. They are dropped.
        if child.run is None or child.outcome is not None:
            return
        match frame:
            case {"kind": "begun", "resident": int(resident)} if not child.begun:
                self.begin(child, resident)
            case {"kind": "message"} if not child.begun:
                pass
            case {"kind": "message", "number": int(number), "body": body}:
                self.reporter.forward(child, {"kind": "message", "number": number, "body": body})
            case {"kind": "message", "body": body}:
                self.reporter.forward(child, {"kind": "message", "body": body})
            case {"kind": "returned"} if child.begun and not child.returned:
                child.returned, child.deadline = True, None
                child.escalation = [(time.monotonic() + FINISH_SECONDS, "kill")]
            case {"kind": "outcome", "body": bytes(outcome)} if child.returned:
                child.outcome = outcome
                self.on_outcome(child)
            case _:
                self.break_off(child, f"an unexpected frame, {quoted(frame.get('kind'))}")

    def begin(self, child: ChildHandle, resident: int) -> None:
        """Start the time of a run: its handler is being called."""
        child.begin(resident)
        self.reporter.begun(child)
        if not child.stop_cause:  # one that is already stopping ends within the grace
            timeout = child.timeout
            child.deadline = time.monotonic() + timeout if timeout else None

    def answer(self, child: ChildHandle, frame: Frame) -> None:
        """Tell a run what became of its message."""
        child.channel.send(frame)
        if len(child.channel.unsent) > MAX_UNREAD_ANSWERS_BYTES:
            self.break_off(child, "messages whose answers it does not read")

    def finish(self, child: ChildHandle) -> None:
        """Handle what a dead child has sent last."""
        self.receive(child)
        if child.running and child.channel.decoder.incomplete:
            self.break_off(child, "a frame that has no end")

    def break_off(self, child: ChildHandle, flaw: str) -> None:
        """Kill a child that has sent what no run sends: nothing that follows can be believed."""
        if child.running and not child.stop_cause:
            child.stop_reason = flaw
        stop_run(child, "broken", grace=0)
        child.kill()
