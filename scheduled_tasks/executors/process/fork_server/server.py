"""The loop of the fork server: one thread that hands out runs, keeps time and ends runs."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

from scheduled_tasks.executors.base import NEVER
from scheduled_tasks.executors.process import operating_system
from scheduled_tasks.executors.process.fork_server.child_handle import ChildHandle, claim_of
from scheduled_tasks.executors.process.fork_server.memory_limits import MemoryLimits
from scheduled_tasks.executors.process.fork_server.output_pipe import OutputPipe
from scheduled_tasks.executors.process.fork_server.pending_runs import PendingRuns
from scheduled_tasks.executors.process.fork_server.protocol import RunProtocol
from scheduled_tasks.executors.process.fork_server.reporter import RunReporter
from scheduled_tasks.executors.process.fork_server.selector import Selector
from scheduled_tasks.executors.process.fork_server.spawning import Spawn
from scheduled_tasks.executors.process.fork_server.timeouts import Timeouts, stop_run
from scheduled_tasks.executors.process.memory import UNIT_OF_PEAK
from scheduled_tasks.executors.process.wire import Channel, Frame
from scheduled_tasks.runtime.clock import boottime

logger = logging.getLogger(__name__)

#: Seconds until a write or the killing of an orphan that could not be finished is tried again.
RETRY_SECONDS = 0.005
#: While runs depend on the lease, it is checked this often.
LEASE_CHECK_SECONDS = 1.0
#: Seconds after a run was assigned in which no spare child is forked.
SPARE_DELAY_SECONDS = 0.01
#: Seconds between a failed fork and the next attempt.
FORK_RETRY_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """What the worker has set, and its process id. Times are in seconds.

    A child must begin its run within ``start_timeout``, and end it within ``grace`` after it was
    asked to stop.
    """

    spares: int
    grace: float
    start_timeout: float
    executions_per_child: int
    lease_until: float
    worker: int


class ForkServer:
    """Assigns runs to children, ends those that have to end, and reports how each run ended.

    ``spawn`` makes a child that waits for a run; in a forked child it does not return. Everything
    happens in one thread, in the loop of ``serve``.
    """

    def __init__(self, worker: Channel, options: ServerOptions, spawn: Spawn) -> None:
        self.worker = worker
        self.options = options
        self.spawn = spawn
        self.children: dict[int, ChildHandle] = {}
        self.spares: deque[ChildHandle] = deque()
        self.selector = Selector(
            worker, on_child=self.receive_from_child, on_output=self.receive_output
        )
        self.reporter = RunReporter(worker, self.children)
        self.protocol = RunProtocol(self.reporter, on_outcome=self.handle_outcome)
        self.pending = PendingRuns(self.reporter)
        self.lease_until = options.lease_until
        self.timeouts = Timeouts(self.children, on_deadline=self.handle_deadline)
        self.memory_limits = MemoryLimits(self.children)
        self.worker_gone = False
        self.next_fork = 0.0
        self.next_spare = 0.0
        #: Since when no child could be made, None while that succeeds.
        self.fork_failing_since: float | None = None

    def serve(self) -> None:
        """Serve until the worker is gone and nothing that the server has started is left."""
        self.selector.open(
            self.options.worker, on_frames=self.receive_from_worker, on_gone=self.lose_worker
        )
        while not (self.worker_gone and not self.children and not self.reporter.kill_orphans()):
            self.assign_runs()
            self.selector.wait(self.seconds_until_due())
            # Children are reaped after their frames are read: a reaped child's channel is closed.
            if self.selector.child_ended:
                self.reap_children()
            self.timeouts.enforce(time.monotonic())
            self.memory_limits.enforce(time.monotonic())
            self.reporter.release_held()
            self.flush()

    def close_in_child(self) -> None:
        """Close, in a forked child, what only the server may hold."""
        self.selector.close()
        for child in self.children.values():
            child.close()

    # What the worker sends.

    def receive_from_worker(self) -> None:
        """Do what the worker asks for; when it is gone, end everything."""
        frames = self.worker.receive()
        if frames is None:
            self.lose_worker()
        for frame in frames or ():
            match frame["kind"]:
                case "run":
                    self.pending.add(frame)
                case "lease":
                    self.lease_until = frame["until"]
                    self.worker.send(
                        {"kind": "lease"}
                    )  # the echo shows that this server does not hang
                case "answer":
                    self.forward_answer(frame)
                case "output_read":
                    self.resume_output(frame)
                case "cancel":
                    self.cancel(claim_of(frame), frame["reason"])
                case "abandon":
                    self.stop_all("abandoned", grace=frame["grace"])
                case "break":
                    self.break_off_claim(claim_of(frame), frame["reason"])

    def lose_worker(self) -> None:
        """Kill everything: the worker is not there to be told how it went."""
        if not self.worker_gone:
            self.worker_gone = True
            self.selector.unwatch_worker()
            self.pending.clear()
            for child in self.children.values():
                child.kill()

    def forward_answer(self, frame: Frame) -> None:
        """Tell a run what became of its message; a run whose message was refused must stop."""
        claim = claim_of(frame)
        for child in self.children.values():
            if child.claim == claim:
                self.protocol.answer(child, frame)
                if not (frame["accepted"] or child.stop_cause):
                    stop_run(child, "refused", grace=self.options.grace)

    def resume_output(self, frame: Frame) -> None:
        """Read on what a run writes: the worker has read what was sent of it."""
        claim = claim_of(frame)
        for child in self.children.values():
            if child.claim == claim:
                pipe = next(pipe for pipe in child.pipes if pipe.name == frame["stream"])
                pipe.awaited, pipe.full = True, frame["full"]
                self.selector.watch_pipes(child)

    # Runs and the children that make them.

    def assign_runs(self) -> None:
        """Assign pending runs to children while the lease is valid, and fork one spare child."""
        # The monotonic clock stops while the machine sleeps, and the lease does not.
        if boottime() >= self.lease_until:
            self.stop_all("lease", grace=0)
            for child in self.children.values():
                if child.run:
                    child.kill()  # also a child that has sent its outcome and is about to exit
        while self.pending and (self.spares or self.fork()):
            child = self.spares.popleft()
            child.assign(self.pending.pop())
            now = time.monotonic()
            child.deadline = now + self.options.start_timeout
            self.next_spare = now + SPARE_DELAY_SECONDS
            with suppress(OSError):  # the child has just died and is reaped in a moment
                child.channel.flush()
        if not self.worker_gone and time.monotonic() >= self.spare_due:
            self.fork()

    @property
    def spare_due(self) -> float:
        """Return when the next spare child is to be forked.

        While there is another spare, wait until a run that has just been assigned has begun: a
        fork slows down everything else on the machine.
        """
        if len(self.spares) >= self.options.spares:
            return NEVER
        return max(self.next_fork, self.next_spare) if self.spares else self.next_fork

    def fork(self) -> bool:
        """Make a child that waits for a run. Return whether that succeeded."""
        if time.monotonic() < self.next_fork:
            return False
        try:
            child = self.spawn(self)
        except OSError as error:  # too many processes or files, or too little memory, just now
            self.handle_failed_fork(error)
            return False
        self.fork_failing_since = None
        self.children[child.pid] = child
        self.spares.append(child)
        self.selector.watch(child)
        return True

    def handle_failed_fork(self, error: OSError) -> None:
        """Try again soon. Fail the pending runs if no child is left whose end could help."""
        now = time.monotonic()
        self.next_fork = now + FORK_RETRY_SECONDS
        if self.fork_failing_since is None:
            self.fork_failing_since = now
            logger.warning("no process can be started for a run, trying again: %s", error)
        seconds = self.options.start_timeout
        if not self.children and now - self.fork_failing_since >= seconds:
            self.pending.stop_all("unforked", reason=str(error), seconds=seconds)

    def receive_from_child(self, child: ChildHandle) -> None:
        """Handle the frames that a child has sent."""
        if not self.protocol.receive(child):
            self.selector.remove(child.channel)

    def receive_output(self, child: ChildHandle, pipe: OutputPipe) -> None:
        """Report what a child writes below Python."""
        self.reporter.output(child, pipe, pipe.read())
        if not (pipe.open and pipe.awaited):
            self.selector.remove(pipe)

    def handle_outcome(self, child: ChildHandle) -> None:
        """Let a child exit whose run has reported how it ended, or use it again."""
        child.deadline, child.runs_made = None, child.runs_made + 1
        # Closing its connections or its log handlers may hang.
        child.escalation = [(time.monotonic() + self.options.grace, "kill")]
        if child.runs_made < self.options.executions_per_child:
            self.reuse(child)

    def reuse(self, child: ChildHandle) -> None:
        """Report a run and make its child a spare again, unless processes of the run are left."""
        # What a run has left behind must not meet the next run.
        if child.stop_cause or operating_system.children_of(child.pid):
            child.dismiss()
            return
        self.reporter.flush_output(child)
        self.reporter.ended(child, peak=child.peak_of(child.peak_resident()))
        child.run, child.escalation = None, []
        self.selector.watch_pipes(child)
        self.spares.append(child)

    # Ending what has to end.

    def stop_all(self, why: str, *, grace: float) -> None:
        """Stop every run, also those that have not begun."""
        self.pending.stop_all(why)
        for child in self.children.values():
            stop_run(child, why, grace=grace)

    def break_off_claim(self, claim: Frame, flaw: str) -> None:
        """Kill a run whose messages the worker cannot read."""
        for child in self.children.values():
            if child.claim == claim:
                self.protocol.break_off(child, flaw)

    def cancel(self, claim: Frame, reason: str) -> None:
        """Stop one run, also if it has not begun. One that is already stopping is left alone."""
        self.pending.cancel(claim, reason)
        for child in self.children.values():
            if child.claim != claim:
                continue
            self.receive_from_child(child)  # it may have returned just now
            if child.running and not (child.returned or child.stop_cause):
                child.stop_reason = reason
                stop_run(child, "cancelled", grace=self.options.grace)

    def handle_deadline(self, child: ChildHandle) -> None:
        """Stop a run that has timed out; kill a child that has not begun its run in time."""
        had_begun = child.begun
        self.receive_from_child(child)  # it may have begun or returned, also while paused
        if not child.begun:
            child.overdue, child.deadline = self.options.start_timeout, None
            child.kill()
        elif had_begun and not child.returned:
            self.reporter.timed_out(child)
            stop_run(child, "timeout", grace=self.options.grace)

    def reap_children(self) -> None:
        """Reap the children that have ended, and kill what they have left behind."""
        self.selector.child_ended = False
        while True:
            try:
                # Several children may share one signal, so all that have ended are reaped.
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if child := self.children.pop(pid, None):
                self.reap(child, status, usage.ru_maxrss * UNIT_OF_PEAK)
        self.reporter.kill_orphans()

    def reap(self, child: ChildHandle, status: int, resident: int) -> None:
        """Kill a dead child's process group, read what it has sent, and report how it ended."""
        # First, so that nothing of the run writes while the rest is read.
        child.signal(signal.SIGKILL)
        self.protocol.finish(child)
        self.reporter.flush_output(child)
        with suppress(ValueError):
            self.spares.remove(child)
        signalled = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        facts = {
            "signal": signalled,
            "out_of_memory": signalled == signal.SIGKILL and child.saw_oom_kill(),
        }
        never_begun = not (child.begun or child.stop_cause or self.worker_gone)
        if child.run and signalled and never_begun:
            self.pending.put_back(child.run, overdue=child.overdue, **facts)
            child.run = None
        if child.run is None:
            # Spares that die at once must not make the server fork without end.
            self.next_fork = time.monotonic() + FORK_RETRY_SECONDS
        else:
            self.reporter.ended(
                child,
                peak=child.peak_of(resident),
                code=os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0,
                trace=child.read_trace() if child.outcome is None else "",
                **facts,
            )
        self.selector.unwatch(child)
        child.close()

    def flush(self) -> None:
        """Send what is unsent; pause children while the worker does not keep up."""
        if self.worker_gone:
            return
        try:
            self.worker.flush()
        except OSError:
            self.lose_worker()
            return
        for child in self.children.values():
            if child.channel.unsent:
                with suppress(OSError):
                    child.channel.flush()
        self.selector.apply_backpressure(self.children.values())

    def seconds_until_due(self) -> float | None:
        """Return the seconds until something is due, None if nothing is."""
        now = time.monotonic()
        due = [*self.timeouts.due(), *self.memory_limits.due()]
        if self.pending or any(child.run for child in self.children.values()):
            # The lease runs on while the machine sleeps; the clock of the selector does not.
            left = self.lease_until - boottime()
            due.append(now + min(max(left, RETRY_SECONDS), LEASE_CHECK_SECONDS))
        if self.reporter.held or self.worker_gone or self.unsent():
            due.append(now + RETRY_SECONDS)
        elif self.pending:
            due.append(self.next_fork)
        elif not self.worker_gone:
            due.append(self.spare_due)
        soonest = min(due, default=NEVER)
        return max(soonest - now, 0) if soonest < NEVER else None

    def unsent(self) -> bool:
        return bool(self.worker.unsent) or any(
            child.channel.unsent for child in self.children.values()
        )
