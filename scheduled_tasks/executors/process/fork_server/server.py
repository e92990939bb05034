"""The loop of the fork server: one thread that hands out runs, keeps time and ends runs."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

from scheduled_tasks.executors.base import NEVER
from scheduled_tasks.executors.process import operating_system
from scheduled_tasks.executors.process.fork_server.child import (
    ABANDONED,
    CANCELLED,
    REFUSED,
    TIMEOUT,
)
from scheduled_tasks.executors.process.fork_server.child_handle import ChildHandle, claim_of
from scheduled_tasks.executors.process.fork_server.memory_limits import MemoryLimits
from scheduled_tasks.executors.process.fork_server.output_pipe import OutputPipe
from scheduled_tasks.executors.process.fork_server.pending_runs import PendingRuns
from scheduled_tasks.executors.process.fork_server.reports import RunReporter
from scheduled_tasks.executors.process.fork_server.selector import Selector
from scheduled_tasks.executors.process.fork_server.spawning import Spawn
from scheduled_tasks.executors.process.memory import UNIT_OF_PEAK
from scheduled_tasks.executors.process.wire import BrokenStreamError, Channel, Frame
from scheduled_tasks.runtime.clock import lifetime

#: What could not be done at once, a write or the death of an orphan, is looked at again so soon.
RETRY_SECONDS = 0.005
#: While runs depend on the lease, it is looked at so often, in seconds.
LEASE_CHECK_SECONDS = 1.0
#: No child is forked ahead for so many seconds after a run was given to another.
SPARE_DELAY_SECONDS = 0.01
#: After a failed fork the next is tried so many seconds later.
FORK_RETRY_SECONDS = 0.5

#: What can be asked of a run; anything else that ends one kills it.
STOP_CODES = {
    "timeout": TIMEOUT,
    "refused": REFUSED,
    "abandoned": ABANDONED,
    "cancelled": CANCELLED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """What the worker has set, and its process id. Times are in seconds.

    A child that was given a run has to begin it within ``beginning``, and to end it within
    ``grace`` once it is asked to.
    """

    spares: int
    grace: float
    beginning: float
    executions_per_child: int
    lease_until: float
    worker: int


class ForkServer:
    """Gives runs to children and reports how they ended.

    ``spawn`` makes a child that waits for a run; in a forked child it does not return.
    """

    def __init__(self, worker: Channel, rules: ServerOptions, spawn: Spawn) -> None:
        self.worker = worker
        self.rules = rules
        self.spawn = spawn
        self.children: dict[int, ChildHandle] = {}
        self.spares: deque[ChildHandle] = deque()
        self.ears = Selector(worker, on_child=self.hear_child, on_output=self.hear_outlet)
        self.reports = RunReporter(worker, self.children)
        self.waiting = PendingRuns(self.reports)
        self.lease_until = rules.lease_until
        self.memory = MemoryLimits(self.children)
        self.worker_gone = False
        self.next_fork = 0.0
        self.next_spare = 0.0

    def serve(self) -> None:
        """Serve until the worker is gone and nothing that it started is left."""
        self.ears.open(self.rules.worker, on_frames=self.hear_worker, on_gone=self.lose_worker)
        while not (self.worker_gone and not self.children and not self.reports.orphans()):
            self.hand_out()
            self.ears.wait(self.patience())
            if self.ears.alarmed:  # only now: what it closes may have had something to say
                self.reap()
            self.keep_time()
            self.flush()

    def leave_to_child(self) -> None:
        """Close, in a forked child, what only the server may hold."""
        self.ears.close()
        for child in self.children.values():
            child.forget()

    # What the worker says.

    def hear_worker(self) -> None:
        """Do what the worker says; when it is gone, end everything."""
        frames = self.worker.receive()
        if frames is None:
            self.lose_worker()
        for frame in frames or ():
            match frame["kind"]:
                case "run":
                    self.waiting.add(frame)
                case "lease":
                    self.lease_until = frame["until"]
                    self.worker.send({"kind": "lease"})  # or it takes this server for hung
                case "answer":
                    self.pass_answer(frame)
                case "cancel":
                    self.cancel(claim_of(frame), frame["reason"])
                case "abandon":
                    self.end_all("abandoned", grace=frame["grace"])

    def lose_worker(self) -> None:
        """End everything: nobody is there to say how it went."""
        if not self.worker_gone:
            self.worker_gone = True
            self.ears.lose_worker()
            self.waiting.clear()
            for child in self.children.values():
                child.kill()

    def pass_answer(self, frame: Frame) -> None:
        """Tell a run what became of its message; one that was refused has to stop."""
        claim = claim_of(frame)
        for child in self.children.values():
            if child.claim == claim:
                child.channel.send(frame)
                if not (frame["accepted"] or child.stopped):
                    self.end(child, "refused", grace=self.rules.grace)

    # Runs and the children that make them.

    def hand_out(self) -> None:
        """Give waiting runs to children, while the lease lives, and fork one child ahead."""
        if lifetime() >= self.lease_until:
            self.end_all("lease", grace=0)
            for child in self.children.values():
                if child.run:
                    child.kill()  # also one that has only its leaving left to do
        while self.waiting and (self.spares or self.fork()):
            child = self.spares.popleft()
            child.take(self.waiting.next())
            now = time.monotonic()
            child.deadline, self.next_spare = now + self.rules.beginning, now + SPARE_DELAY_SECONDS
            with suppress(OSError):  # it has just died, which is noticed in a moment
                child.channel.flush()
        if not self.worker_gone and time.monotonic() >= self.spare_due:
            self.fork()

    @property
    def spare_due(self) -> float:
        """Return when the next child is to be forked ahead.

        Where there is another one, not while a run begins: a fork slows down all that it has to
        share the machine with.
        """
        if len(self.spares) >= self.rules.spares:
            return NEVER
        return max(self.next_fork, self.next_spare) if self.spares else self.next_fork

    def fork(self) -> bool:
        """Make a child that waits for a run; say whether there is one more."""
        if time.monotonic() < self.next_fork:
            return False
        try:
            child = self.spawn(self)
        except OSError:  # the system has no room for another process just now
            self.next_fork = time.monotonic() + FORK_RETRY_SECONDS
            return False
        self.children[child.pid] = child
        self.spares.append(child)
        self.ears.follow(child)
        return True

    def hear_child(self, child: ChildHandle) -> bool:
        """Pass on what a child says; say whether there may be more."""
        try:
            frames = child.channel.receive()
        except BrokenStreamError:
            child.kill()
            frames = None
        if frames is None:
            self.ears.leave_source(child.channel)
        for frame in frames or ():
            self.hear_frame(child, frame)
        return bool(frames)

    def hear_outlet(self, child: ChildHandle, pipe: OutputPipe) -> None:
        """Pass on what a child writes below Python."""
        self.reports.printed(child, pipe.name, pipe.read())
        if not pipe.open:
            self.ears.leave_source(pipe)

    def hear_frame(self, child: ChildHandle, frame: Frame) -> None:
        if child.run is None:
            return
        match frame.get("kind"):
            case "begun" if not child.begun:
                timeout = child.run["run"]["timeout"]
                child.begun = True
                child.deadline = time.monotonic() + timeout if timeout else None
                self.reports.begun(child)
            case "message":
                self.reports.said(child, frame)
            case "outcome" if isinstance(frame.get("outcome"), dict):
                child.outcome = frame["outcome"]
                child.deadline, child.runs_made = None, child.runs_made + 1
                child.steps = [(time.monotonic() + self.rules.grace, "kill")]
                if child.runs_made < self.rules.executions_per_child:
                    self.keep_for_another(child)

    def keep_for_another(self, child: ChildHandle) -> None:
        """Report a run, and let its child make another, unless something is left of this one."""
        if child.stopped or operating_system.children_of(child.pid):
            child.dismiss()
            return
        self.reports.last_printed(child)
        self.reports.ended(child, peak=child.peak_of(child.highest_resident()))
        child.run, child.steps = None, []
        self.spares.append(child)

    # Ending what has to end.

    def end(self, child: ChildHandle, why: str, *, grace: float) -> None:
        """Ask a child to stop, and more firmly as the grace passes; without grace, kill it."""
        if not child.running:
            return
        now = time.monotonic()
        child.stopped, child.deadline = child.stopped or why, None
        if grace <= 0 or why not in STOP_CODES:
            child.kill()
            return
        child.say(STOP_CODES[why])
        child.steps = [(now + grace / 2, "terminate"), (now + grace, "kill")]

    def end_all(self, why: str, *, grace: float) -> None:
        """End every run, also those that have not begun."""
        self.waiting.end_all(why)
        for child in self.children.values():
            self.end(child, why, grace=grace)

    def cancel(self, claim: Frame, reason: str) -> None:
        """End one run, also if it has not begun; one that already has to stop is left at that."""
        self.waiting.cancel(claim, reason)
        for child in self.children.values():
            if child.claim == claim and child.running and not child.stopped:
                child.reason = reason
                self.end(child, "cancelled", grace=self.rules.grace)

    def keep_time(self) -> None:
        """Do what is due: deadlines, memory, the lease."""
        now = time.monotonic()
        for child in list(self.children.values()):
            if child.deadline is not None and now >= child.deadline:
                self.meet_deadline(child)
            while child.steps and now >= child.steps[0][0]:
                match child.steps.pop(0)[1]:
                    case "terminate":
                        child.remind()
                    case _:
                        child.kill()
        for child in self.memory.exceeded(now):
            self.end(child, "memory", grace=0)
        self.reports.release()

    def meet_deadline(self, child: ChildHandle) -> None:
        """End a run at its timeout; kill a child that should have begun one."""
        if child.begun:
            self.reports.timed_out(child)
            self.end(child, "timeout", grace=self.rules.grace)
            return
        self.hear_child(child)  # it may have said so while nobody listened to children
        if not child.begun:
            child.overdue, child.deadline = self.rules.beginning, None
            child.kill()

    def reap(self) -> None:
        """Take notice of children that have ended, and end what they leave behind."""
        self.ears.alarmed = False
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if child := self.children.pop(pid, None):
                self.bury(child, status, usage.ru_maxrss * UNIT_OF_PEAK)
        self.reports.orphans()

    def bury(self, child: ChildHandle, status: int, resident: int) -> None:
        """Report how a child ended, once its last words are read and its group is gone."""
        child.signal(signal.SIGKILL)
        while self.hear_child(child):
            pass
        self.reports.last_printed(child)
        with suppress(ValueError):
            self.spares.remove(child)
        signalled = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        facts = {
            "signal": signalled,
            "out_of_memory": signalled == signal.SIGKILL and child.saw_oom_kill(),
        }
        unheard = not (child.begun or child.stopped or self.worker_gone)
        if child.run and signalled and unheard:
            self.waiting.put_back(child.run, overdue=child.overdue, **facts)
            child.run = None
        if child.run is None:
            self.next_fork = (
                time.monotonic() + FORK_RETRY_SECONDS
            )  # or forking what dies would be all
        else:
            self.reports.ended(
                child,
                peak=child.peak_of(resident),
                code=os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0,
                trace=child.last_words() if child.outcome is None else "",
                **facts,
            )
        self.ears.leave(child)
        child.forget()

    def flush(self) -> None:
        """Send what is unsent; listen to no child while the worker does not keep up."""
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
        self.ears.heed(self.children.values())

    def patience(self) -> float | None:
        """Return how many seconds nothing will be due."""
        now = time.monotonic()
        due = [child.deadline for child in self.children.values() if child.deadline is not None]
        due += [child.steps[0][0] for child in self.children.values() if child.steps]
        if self.memory.limited():
            due.append(self.memory.next_look)
        if self.waiting or any(child.run for child in self.children.values()):
            # This clock goes on while the machine sleeps, the one that waits here does not.
            left = self.lease_until - lifetime()
            due.append(now + min(max(left, RETRY_SECONDS), LEASE_CHECK_SECONDS))
        if self.reports.held or self.worker_gone or self.unsent():
            due.append(now + RETRY_SECONDS)
        elif self.waiting:
            due.append(self.next_fork)
        elif not self.worker_gone:
            due.append(self.spare_due)
        soonest = min(due, default=NEVER)
        return max(soonest - now, 0) if soonest < NEVER else None

    def unsent(self) -> bool:
        return bool(self.worker.unsent) or any(
            child.channel.unsent for child in self.children.values()
        )
