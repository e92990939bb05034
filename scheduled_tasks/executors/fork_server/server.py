"""The loop of the fork server: one thread that forks, listens, keeps time and ends runs."""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

from scheduled_tasks.clock import lifetime
from scheduled_tasks.executors import platform
from scheduled_tasks.executors.base import NEVER
from scheduled_tasks.executors.fork_server.child import ABANDONED, REFUSED, TIMEOUT
from scheduled_tasks.executors.fork_server.family import Child, strays
from scheduled_tasks.executors.fork_server.spawning import Spawn
from scheduled_tasks.executors.memory import MEGABYTE, UNIT_OF_PEAK, resident_of
from scheduled_tasks.executors.wire import BrokenStreamError, Channel, Frame

#: Memory is looked at so often, in seconds.
MEMORY_INTERVAL = 0.1
#: Children are not listened to while the worker has so many bytes to read.
MOST_UNREAD = 1 << 22
#: After a failed fork the next is tried so many seconds later.
FORK_AGAIN = 0.5
#: Endings are not held back for orphans that cannot be killed for longer than this.
LONGEST_HOLD = 5.0

#: What can be asked of a run; anything else that ends one kills it.
ORDERS = {"timeout": TIMEOUT, "refused": REFUSED, "abandoned": ABANDONED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the worker has set, and its process id. Times are in seconds."""

    spares: int
    grace: float
    executions_per_child: int
    lease_until: float
    worker: int


class ForkServer:
    """Gives runs to children and reports how they ended.

    ``spawn`` makes a child that waits for a run; in a forked child it does not return.
    """

    def __init__(self, worker: Channel, rules: Rules, spawn: Spawn) -> None:
        self.worker = worker
        self.rules = rules
        self.spawn = spawn
        self.children: dict[int, Child] = {}
        self.spares: deque[Child] = deque()
        self.waiting: deque[Frame] = deque()
        self.lease_until = rules.lease_until
        self.inherited = resident_of(os.getpid())
        self.held: list[Frame] = []
        self.held_since: float | None = None
        self.worker_gone = False
        self.worker_process = -1
        self.next_fork = 0.0
        self.next_look_at_memory = 0.0
        self.deaf = False
        self.alarmed = False
        self.selector = selectors.DefaultSelector()
        self.alarm, self.alarm_end = os.pipe()

    def serve(self) -> None:
        """Serve until the worker is gone and nothing that it started is left."""
        self.listen()
        while not (self.worker_gone and not self.children and not self.orphans()):
            self.hand_out()
            for key, _ in self.selector.select(self.patience()):
                key.data()
            if self.alarmed:  # only now: what it closes may have had something to say
                self.reap()
            self.keep_time()
            self.flush()

    def listen(self) -> None:
        """Wait for the worker, and for children that end."""
        for descriptor in (self.alarm, self.alarm_end):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(self.alarm_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        self.selector.register(self.worker, selectors.EVENT_READ, self.hear_worker)
        self.selector.register(self.alarm, selectors.EVENT_READ, self.take_alarm)
        self.watch_worker()

    def watch_worker(self) -> None:
        """Notice the worker's death also where another process holds its end of the socket.

        A handler that runs in a thread of the worker and forks is enough for that.
        """
        with suppress(AttributeError, OSError):
            self.worker_process = os.pidfd_open(self.rules.worker)
            self.selector.register(self.worker_process, selectors.EVENT_READ, self.lose_worker)
        if os.getppid() != self.rules.worker:
            self.lose_worker()

    def leave_to_child(self) -> None:
        """Close, in a forked child, what only the server may hold."""
        self.selector.close()
        self.worker.close()
        for descriptor in (self.alarm, self.alarm_end, self.worker_process):
            with suppress(OSError):
                os.close(descriptor)
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
                    self.waiting.append(frame)
                case "lease":
                    self.lease_until = frame["until"]
                case "answer":
                    self.pass_answer(frame)
                case "abandon":
                    self.end_all("abandoned", grace=frame["grace"])

    def lose_worker(self) -> None:
        """End everything: nobody is there to say how it went."""
        if not self.worker_gone:
            self.worker_gone = True
            for source in (self.worker, self.worker_process):
                with suppress(KeyError, ValueError):
                    self.selector.unregister(source)
            self.waiting.clear()
            for child in self.children.values():
                child.kill()

    def pass_answer(self, frame: Frame) -> None:
        """Tell a run what became of its message; one that was refused has to stop."""
        for child in self.children.values():
            if child.run and child.run["run"]["execution_id"] == frame["execution_id"]:
                child.channel.send(frame)
                if not frame["accepted"]:
                    self.end(child, "refused", grace=self.rules.grace)

    # Runs and the children that make them.

    def hand_out(self) -> None:
        """Give waiting runs to children, while the lease lives, and fork one child ahead."""
        if lifetime() >= self.lease_until:
            self.end_all("lease", grace=0)
        while self.waiting and (self.spares or self.fork()):
            child = self.spares.popleft()
            child.take(self.waiting.popleft())
            with suppress(OSError):  # it has just died, which is noticed in a moment
                child.channel.flush()
        if len(self.spares) < self.rules.spares and not self.worker_gone:
            self.fork()

    def fork(self) -> bool:
        """Make a child that waits for a run; say whether there is one more."""
        if time.monotonic() < self.next_fork:
            return False
        try:
            child = self.spawn(self)
        except OSError:  # the system has no room for another process just now
            self.next_fork = time.monotonic() + FORK_AGAIN
            return False
        self.children[child.pid] = child
        self.spares.append(child)
        if not self.deaf:
            self.hear(child, True)
        return True

    def hear(self, child: Child, listening: bool) -> None:  # noqa: FBT001
        """Listen to a child, or stop."""
        if listening:
            self.selector.register(
                child.channel, selectors.EVENT_READ, lambda: self.hear_child(child)
            )
        else:
            self.selector.unregister(child.channel)

    def hear_child(self, child: Child) -> bool:
        """Pass on what a child says; say whether there may be more."""
        try:
            frames = child.channel.receive()
        except BrokenStreamError:
            child.kill()
            frames = None
        if frames is None:
            with suppress(KeyError, ValueError):
                self.hear(child, False)
        for frame in frames or ():
            self.hear_frame(child, frame)
        return bool(frames)

    def hear_frame(self, child: Child, frame: Frame) -> None:
        if child.run is None:
            return
        match frame.get("kind"):
            case "begun" if not child.begun:
                timeout = child.run["run"]["timeout"]
                child.begun = True
                child.deadline = time.monotonic() + timeout if timeout else None
                self.worker.send({**claim_of(child), "kind": "begun", "pid": child.pid})
            case "message":
                self.worker.send({**frame, **claim_of(child)})
            case "outcome" if isinstance(frame.get("outcome"), dict):
                child.outcome = frame["outcome"]
                child.deadline, child.runs_made = None, child.runs_made + 1
                child.steps = [(time.monotonic() + self.rules.grace, "kill")]
                if child.runs_made < self.rules.executions_per_child:
                    self.keep_for_another(child)

    def keep_for_another(self, child: Child) -> None:
        """Report a run, and let its child make another, unless something is left of this one."""
        if child.stopped or platform.children_of(child.pid):
            child.dismiss()
            return
        self.report(child, peak=max(child.peak, child.highest_resident() - child.resident_at_start))
        child.run, child.steps = None, []
        self.spares.append(child)

    # Ending what has to end.

    def end(self, child: Child, why: str, *, grace: float) -> None:
        """Ask a child to stop, and more firmly as the grace passes; without grace, kill it."""
        if not child.running:
            return
        now = time.monotonic()
        child.stopped, child.deadline = child.stopped or why, None
        if grace <= 0 or why not in ORDERS:
            child.kill()
            return
        child.say(ORDERS[why])
        child.steps = [(now + grace / 2, "terminate"), (now + grace, "kill")]

    def end_all(self, why: str, *, grace: float) -> None:
        """End every run, also those that have not begun."""
        while self.waiting:
            run = self.waiting.popleft()["run"]
            self.tell(
                {
                    "kind": "ended",
                    "execution_id": run["execution_id"],
                    "attempt": run["attempt"],
                    "stopped": why,
                }
            )
        for child in self.children.values():
            self.end(child, why, grace=grace)

    def keep_time(self) -> None:
        """Do what is due: deadlines, memory, the lease."""
        now = time.monotonic()
        for child in list(self.children.values()):
            if child.deadline is not None and now >= child.deadline:
                self.tell({**claim_of(child), "kind": "timeout"})
                self.end(child, "timeout", grace=self.rules.grace)
            while child.steps and now >= child.steps[0][0]:
                match child.steps.pop(0)[1]:
                    case "terminate":
                        child.remind()
                    case _:
                        child.kill()
        if now >= self.next_look_at_memory:
            self.next_look_at_memory = now + MEMORY_INTERVAL
            self.look_at_memory()
        if self.held:
            self.report_held()

    def look_at_memory(self) -> None:
        """End the runs that use more than they may."""
        for child in self.limited():
            limit = child.memory_limit
            if limit and child.measure(self.inherited) > limit * MEGABYTE:
                self.end(child, "memory", grace=0)

    def limited(self) -> list[Child]:
        return [child for child in self.children.values() if child.running and child.memory_limit]

    def take_alarm(self) -> None:
        """Note that a child has ended."""
        self.alarmed = True
        with suppress(BlockingIOError):
            os.read(self.alarm, 4096)

    def reap(self) -> None:
        """Take notice of children that have ended, and end what they leave behind."""
        self.alarmed = False
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if child := self.children.pop(pid, None):
                self.bury(child, status, usage.ru_maxrss * UNIT_OF_PEAK)
        self.orphans()

    def bury(self, child: Child, status: int, resident: int) -> None:
        """Report how a child ended, once its last words are read and its group is gone."""
        child.signal(signal.SIGKILL)
        while self.hear_child(child):
            pass
        with suppress(ValueError):
            self.spares.remove(child)
        if child.run and os.WIFSIGNALED(status) and not (child.begun or child.stopped):
            self.waiting.appendleft(child.run)  # killed while it waited: another makes its run
            child.run = None
        if child.run is None:
            self.next_fork = time.monotonic() + FORK_AGAIN  # or forking what dies would be all
        else:
            signalled = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            self.report(
                child,
                peak=max(child.peak, resident - child.resident_at_start),
                code=os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0,
                signal=signalled,
                out_of_memory=signalled == signal.SIGKILL and child.saw_oom_kill(),
                trace=child.last_words() if child.outcome is None else "",
            )
        with suppress(KeyError, ValueError):
            self.hear(child, False)
        child.forget()

    def orphans(self) -> list[int]:
        """Return the processes that ended runs have left behind, having killed them once more."""
        found = strays(self.children)
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return found

    # What the worker is told.

    def report(self, child: Child, *, peak: int, **facts: object) -> None:
        """Tell the worker how a run ended, once nothing of it is left."""
        frame = {
            **claim_of(child),
            "kind": "ended",
            "outcome": child.outcome,
            "stopped": child.stopped,
            "peak_mb": -(-max(peak, 0) // MEGABYTE),
            **facts,
        }
        self.held.append(frame)
        self.held_since = self.held_since or time.monotonic()
        self.report_held()

    def report_held(self) -> None:
        """Send what is held back, unless orphans are still about."""
        since = self.held_since or 0
        if self.orphans() and time.monotonic() - since < LONGEST_HOLD:
            return
        for frame in self.held:
            self.tell(frame)
        self.held, self.held_since = [], None

    def tell(self, frame: Frame) -> None:
        if not self.worker_gone:
            self.worker.send(frame)

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
        deaf = len(self.worker.unsent) > MOST_UNREAD
        if deaf != self.deaf:
            self.deaf = deaf
            for child in self.children.values():
                with suppress(KeyError, ValueError):
                    self.hear(child, not deaf)

    def patience(self) -> float | None:
        """Return how many seconds nothing will be due."""
        now = time.monotonic()
        due = [child.deadline for child in self.children.values() if child.deadline is not None]
        due += [child.steps[0][0] for child in self.children.values() if child.steps]
        if self.limited():
            due.append(self.next_look_at_memory)
        if self.waiting or any(child.run for child in self.children.values()):
            due.append(now + self.lease_until - lifetime())
        if self.held or self.worker_gone:
            due.append(now + 0.01)
        if self.waiting or len(self.spares) < self.rules.spares:
            due.append(max(self.next_fork, now) if not self.worker_gone else now + 0.01)
        if self.unsent():
            due.append(now + 0.005)
        soonest = min(due, default=NEVER)
        return max(soonest - now, 0) if soonest < NEVER else None

    def unsent(self) -> bool:
        return bool(self.worker.unsent) or any(
            child.channel.unsent for child in self.children.values()
        )


def claim_of(child: Child) -> Frame:
    """Return which attempt a child makes."""
    run = child.run["run"] if child.run else {}
    return {"execution_id": run["execution_id"], "attempt": run["attempt"]}
