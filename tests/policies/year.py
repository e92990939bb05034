"""A year of random events from a seed: what tasks there are, when somebody looks, what happens."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from itertools import islice
from random import Random
from typing import Any

from tests.policies.records import HANDLERS, Ending, Execution, Task
from tests.policies.scripted import ScriptedWorker
from tests.policies.world import World
from tests.schedules.moments import utc

START, END = utc("2026-01-01"), utc("2027-01-01")
#: When clocks are changed in the zones below.
CHANGES = {
    "Africa/Casablanca": ["2026-02-15 02:00", "2026-03-22 02:00"],
    "America/New_York": ["2026-03-08 07:00", "2026-11-01 06:00"],
    "Australia/Lord_Howe": ["2026-04-04 15:00", "2026-10-03 15:30"],
    "Europe/Berlin": ["2026-03-29 01:00", "2026-10-25 01:00"],
}
ZONES = ["UTC", *CHANGES]
SPARSE = [
    *("0 2 * * *", "30 2 * * *", "15 1,2,3 * * *", "45 2 * * SUN", "0 9 * * MON-FRI"),
    *("*/20 2 * * *", "0 */3 * * *", "7 * * * *", "59 23 L * *", "0 0 1 */2 *", "5 4 28 2 *"),
    *("every 1 hour", "every 90 minutes", "every 1 day", "every 17 hours", "every 7 days"),
    "",
]
FAST = [
    *(
        "every 1 second",
        "every 1 second",
        "every 5 seconds",
        "every 20 seconds",
        "every 45 seconds",
    ),
    *("every 1 minute", "* * * * *", "*/2 * * * *", "*/5 0-3 * * *", "0-59 2 * * *"),
]
CHOICES: dict[str, list[Any]] = {
    "misfire_policy": ["once", "once", "skip", "all"],
    "misfire_grace": [None, None, None, 0, 60, 300, 3_600, 90_000],
    "catch_up_limit": [1, 2, 3, 10, 40],
    "overlap_policy": ["skip", "buffer_one", "buffer_all", "cancel_other", "allow"],
    "max_retries": [0, 1, 3, 8],
    "retry_delay": [0, 1, 20, 600],
    "retry_backoff": [1.0, 1.5, 2.0, 10.0],
    "retry_max_delay": [5, 60, 3_600, 100_000],
    "on_lost": ["retry", "retry", "fail"],
    "max_losses": [0, 1, 3],
    "queue": ["default", "default", "slow"],
    "priority": [-5, 0, 0, 10],
    "jitter": [0, 0, 3, 90, 5_000],
    "pause_reason": ["", "Stocktaking"],
    "timezone": ZONES,
    "handler": [*HANDLERS, HANDLERS[0]],
}
#: How often each event happens, beside the ticks.
EVENTS = {
    "edit": 9,
    "reschedule_by_a_slow_clock": 1,
    "pause_task": 6,
    "end_pause": 3,
    "switch": 3,
    "pause_everything": 1,
    "resume": 2,
    "run_now": 4,
    "cancel": 3,
    "requeue": 3,
    "lose": 3,
    "disable_quietly": 1,
    "delete": 2,
    "delete_quietly": 1,
    "define": 3,
    "look": 4,
    "deploy": 2,
    "tick": 51,
}
#: Between two events, in seconds.
SHORT_GAPS = [0, 1, 5, 20, 59, 60, 61, 62, 90, 300, 600, 1_800]
#: From one worker to the next, in seconds; after 0, all are replaced at once.
PAUSES_OF_A_DEPLOY = [0, 0, 5, 70]
#: By one that is new: for the missed slots that must not be, and for parking.
TICKS_AFTER_A_DEPLOY = 3
#: Between two events of a burst.
MAX_GAP = timedelta(hours=3)
#: Something goes on so often in a year; between, nobody looks.
BURSTS = 40


class Year:
    """Tells one story from a seed."""

    def __init__(self, seed: int, *, tasks: int, events: int) -> None:
        self.random = Random(seed)
        self.world = World()
        self.now = START
        self.events = events
        #: The handlers in the newest code.
        self.handlers: Collection[str] = HANDLERS
        for _ in range(tasks):
            self.define()
        self.define_backlog()
        for queues in ((), ("default",), ("slow", "default")):
            self.world.hire(self.random.choice([2, 8, 30]), queues)

    def tell(self) -> None:
        """Let the year pass."""
        for moment in self.bursts():
            self.now = max(self.now, moment)
            for _ in range(self.random.randint(1, 2 * self.events // BURSTS)):
                self.now += self.gap()
                [event] = self.random.choices(list(EVENTS), EVENTS.values())
                getattr(self, event)()
        self.world.resume(self.now)
        self.world.ledger.compare_all()

    def bursts(self) -> list[datetime]:
        """Return when something goes on: near changes of clocks, and at other times."""
        changes = [utc(change) for zone in CHANGES.values() for change in zone]
        near = [change - timedelta(minutes=self.random.randint(0, 150)) for change in changes]
        others = [self.moment() for _ in range(BURSTS - len(near))]
        return sorted(near + others)

    def moment(self) -> datetime:
        seconds = int((END - START).total_seconds())
        return START + timedelta(seconds=self.random.randrange(seconds))

    def gap(self) -> timedelta:
        """Return the time until the next event, often just before or after something is due."""
        gap = timedelta(seconds=self.random.choice(SHORT_GAPS))
        if self.random.random() < 0.6 and (coming := self.world.coming(self.now)):
            soonest = min(self.random.sample(coming, min(4, len(coming))))
            early = timedelta(seconds=self.random.choice([0, 1]))
            return min(soonest - self.now + gap - early, MAX_GAP)
        return gap

    @property
    def tasks(self) -> list[Task]:
        return list(self.world.rules.tasks.values())

    def likely(self) -> Task:
        """Return a task, rather one that is parked, or due soon."""
        some = self.random.sample(self.tasks, min(4, len(self.tasks)))
        return min(some, key=lambda task: START if task.parked else task.next_run_at or END)

    def choose(self, name: str) -> Any:
        return self.random.choice(CHOICES[name])

    def schedule(self) -> dict[str, Any]:
        """Return a schedule with what belongs to it; a fast one lasts for some hours only."""
        zone = self.choose("timezone")
        fields: dict[str, Any] = {"timezone": zone, "starts_at": None, "ends_at": None}
        kind = self.random.random()
        if kind < 0.3:
            moments = [utc(change) for change in CHANGES.get(zone, [])] or [self.moment()]
            middle = self.random.choice([*moments, self.moment()])
            begin = middle - timedelta(minutes=self.random.randint(0, 90))
            end = begin + timedelta(minutes=self.random.choice([10, 100, 200]))
            return fields | {
                "schedule": self.random.choice(FAST),
                "anchor": self.moment(),
                "starts_at": begin,
                "ends_at": end,
            }
        if kind < 0.4:
            local = self.moment().replace(tzinfo=None, second=0)
            return fields | {"schedule": f"at {local:%Y-%m-%d %H:%M}"}
        if kind < 0.6:
            fields["starts_at"], fields["ends_at"] = sorted([self.moment(), self.moment()])
        return fields | {"schedule": self.random.choice(SPARSE)}

    # The events

    def define(self) -> None:
        policies = {name: self.choose(name) for name in CHOICES}
        if policies["handler"] not in self.world.rules.known:
            policies["handler"] = HANDLERS[0]
        name = f"task-{len(self.world.ledger.tasks) + 1}"
        self.world.define(name, self.now, **policies | self.schedule())

    def define_backlog(self) -> None:
        """Define a task of which more slots may come unseen than are decided at one look."""
        begin = self.moment()
        end = begin + timedelta(minutes=200)
        fields = {"schedule": "every 1 second", "anchor": begin, "misfire_grace": None}
        policies = {name: self.choose(name) for name in CHOICES} | fields
        self.world.define("backlog", self.now, **policies, starts_at=begin, ends_at=end)

    def edit(self) -> None:
        names = self.random.sample(list(CHOICES), self.random.choice([1, 1, 1, 4]))
        changes = {name: self.choose(name) for name in names}
        if self.random.random() < 0.2:
            changes |= self.schedule()
        self.world.edit(self.likely(), self.now, **changes)

    def reschedule_by_a_slow_clock(self) -> None:
        """Let somebody restart a task's clock whose own clock is slow."""
        slow = timedelta(seconds=self.random.choice([10, 100, 1_000]))
        task = max(self.tasks, key=lambda task: task.last_decided or START)
        self.world.edit(task, self.now - slow, timezone=self.choose("timezone"))

    def pause_task(self) -> None:
        """Pause a task, often exactly until one of its next slots."""
        task = self.likely()
        span = self.random.choice([30, 600, 7_200, 400_000])
        until = self.now + timedelta(seconds=span)
        if self.random.random() < 0.5:
            until = next(islice(task.slots_after(self.now), self.random.randint(0, 2), None), until)
        self.world.edit(task, self.now, paused_until=until)

    def end_pause(self) -> None:
        paused = [task for task in self.tasks if task.paused_until]
        if paused:
            self.world.edit(self.random.choice(paused), self.now, paused_until=None)

    def switch(self) -> None:
        off = [task for task in self.tasks if not task.enabled]
        enable = bool(off) and self.random.random() < 0.7
        task = self.random.choice(off) if enable else self.likely()
        self.world.edit(task, self.now, enabled=not task.enabled)

    def pause_everything(self) -> None:
        span = self.random.choice([None, 40, 600, 7_200, 100_000])
        until = None if span is None else self.now + timedelta(seconds=span)
        if until and self.random.random() < 0.5:
            until = self.random.choice(self.world.coming(self.now)[:3] or [until])
        self.world.pause_everything(self.now, until)

    def resume(self) -> None:
        self.world.resume(self.now)

    def run_now(self) -> None:
        self.world.run_now(self.likely(), self.now)

    def cancel(self) -> None:
        active = [execution for execution in self.world.rules.alive if execution.active]
        chosen = self.random.sample(active, min(len(active), self.random.choice([1, 2, 10])))
        self.world.cancel(chosen, self.now)

    def requeue(self) -> None:
        failed = [e for e in self.world.rules.executions[-300:] if e.status == "failed"]
        if failed:
            self.world.requeue(self.random.choice(failed), self.now)

    def lose(self) -> None:
        worker = self.worker()
        self.world.lose(worker, self.now, charged=self.random.random() < 0.6)
        self.world.hire(worker.concurrency, worker.queues, self.handlers)

    def deploy(self) -> None:
        """Replace some workers, or all; new code may lack handlers, or have them again.

        Where some are left, old and new code run side by side until the next deploy.
        """
        gone = self.random.choice([[], [], HANDLERS[1:2], HANDLERS[2:], HANDLERS[1:]])
        self.handlers = [name for name in HANDLERS if name not in gone]
        self.wait_for_slot_of(gone)
        workers = list(self.world.workers.values())
        some = self.random.choice([len(workers), self.random.randint(1, len(workers))])
        pause = timedelta(seconds=self.random.choice(PAUSES_OF_A_DEPLOY))
        for worker in self.random.sample(workers, some):
            self.world.tick(worker, self.now)
            self.world.replace(worker, self.now, self.handlers)
            self.now += pause
        if self.random.random() < 0.7:
            self.world.publish(self.handlers)
        newest = list(self.world.workers.values())[-1]
        for _ in range(TICKS_AFTER_A_DEPLOY):
            self.now += timedelta(seconds=self.random.choice([5, 70, 180]))
            self.world.tick(newest, self.now)

    def wait_for_slot_of(self, handlers: Collection[str]) -> None:
        """Let the next slot come soon of the tasks with these handlers."""
        slots = [task.next_run_at for task in self.tasks if task.handler in handlers]
        coming = min((slot for slot in slots if slot and slot > self.now), default=self.now)
        if coming < self.now + timedelta(days=1):
            self.now = max(self.now, coming - timedelta(seconds=5))

    def delete(self) -> None:
        self.world.delete(self.likely(), self.now)

    def disable_quietly(self) -> None:
        self.world.disable_quietly(self.likely(), self.now)

    def delete_quietly(self) -> None:
        self.world.delete_quietly(self.likely(), self.now)

    def look(self) -> None:
        worker = self.worker()
        limit = self.random.choice([1, 7, 200])
        self.world.look(self.now, limit=limit, handlers=worker.handlers)

    def tick(self) -> None:
        worker = self.worker()
        held = self.world.held(worker)
        part = self.random.choice([0, 0.5, 1])
        ended = [execution for execution in held if self.random.random() < part]
        endings = [(execution, self.ending(execution)) for execution in ended]
        self.world.tick(worker, self.now, endings)

    def worker(self) -> ScriptedWorker:
        return self.random.choice(list(self.world.workers.values()))

    def ending(self, execution: Execution) -> Ending:
        kind = self.random.choices(
            ["success", "failed", "later", "lost", "cancelled"],
            [60, 25, 6, 6, 60 if execution.stop_asked else 1],
        )[0]
        category = self.random.choice(["logic", "timeout", "network", "payload", "permanent"])
        return Ending(
            kind=kind,
            category={"failed": category, "lost": "lost"}.get(kind, ""),
            retryable=self.random.random() < 0.85,
            delay=self.random.choice([0, 2, 75, 4_000]),
            charged=self.random.random() < 0.6,
        )
