"""What the model of the rules keeps: tasks, executions, covering rows, pauses of everything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

from tests.policies.slots import slots_after

#: An edit of one of these starts the task's slots anew.
SCHEDULE_FIELDS = frozenset({"schedule", "timezone", "anchor", "starts_at", "ends_at"})
BY_SCHEDULE = ("schedule", "catch_up")
#: What tasks may run. The first is in all code, each of the others may be missing in some.
HANDLERS = ("policies.held", "policies.moved", "policies.new")


@dataclass(eq=False, kw_only=True)
class Task:
    """A task as it is now, and how far its slots are decided."""

    name: str
    schedule: str
    handler: str = HANDLERS[0]
    timezone: str = "UTC"
    anchor: datetime | None = None
    enabled: bool = True
    misfire_policy: str = "once"
    misfire_grace: int | None = None
    catch_up_limit: int = 100
    overlap_policy: str = "skip"
    max_retries: int = 0
    retry_delay: float = 1
    retry_backoff: float = 2
    retry_max_delay: float = 3600
    on_lost: str = "retry"
    max_losses: int = 3
    queue: str = "default"
    priority: int = 0
    jitter: int = 0
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    paused_until: datetime | None = None
    pause_reason: str = ""
    #: Slots after this moment are not decided yet.
    seen: datetime = field(repr=False)
    last_decided: datetime | None = field(default=None, repr=False)
    #: The covering row that the next lost slot may go on with.
    cover: Cover | None = field(default=None, repr=False)
    deleted: bool = field(default=False, repr=False)
    #: Was it disabled by a bulk update, which the engine sees only when it looks? Until then its
    #: clock stands at the next slot.
    quietly_off: bool = field(default=False, repr=False)
    stale_clock: datetime | None = field(default=None, repr=False)
    #: Did no worker know its handler for too long?
    parked: bool = field(default=False, repr=False)
    #: When it was last made, changed, parked or unparked.
    changed_at: datetime = field(repr=False)
    #: What its new executions begin with, while it is a suspect.
    probation: int | None = field(default=None, repr=False)
    alive: list[Execution] = field(default_factory=list, repr=False)
    known_next: tuple[Any, datetime | None] | None = field(default=None, repr=False)
    history: list[str] = field(default_factory=list, repr=False)

    def __str__(self) -> str:
        """Return its name and what is special about it."""
        usual = {item.name: item.default for item in fields(self)}
        told = [
            f"{name}={value!s}" for name, value in self.fields().items() if value != usual[name]
        ]
        return f"Task({', '.join(told)})"

    def fields(self) -> dict[str, Any]:
        """Return what a person can set."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.repr}

    def slots_after(self, after: datetime) -> Iterator[datetime]:
        """Yield the expected slots after a moment, if the task is and stays enabled."""
        if self.starts_at is not None:
            after = max(after, self.starts_at - timedelta(microseconds=1))
        slots = slots_after(self.schedule, self.timezone, self.anchor, after)
        return takewhile(lambda slot: self.ends_at is None or slot < self.ends_at, slots)

    def undecided(self, until: datetime) -> list[datetime]:
        """Return the slots that have come by a moment and that nobody has decided."""
        if self.next_run_at is None or self.next_run_at > until:
            return []
        return self.since_seen(until)

    def since_seen(self, until: datetime) -> list[datetime]:
        """Return the slots that have come by a moment since the last decision or restart."""
        return list(takewhile(lambda slot: slot <= until, self.slots_after(self.seen)))

    @property
    def counts_elapsed_time(self) -> bool:
        return self.schedule.startswith("every")

    def note_change(self, now: datetime) -> None:
        """Record when it was changed. A slow clock does not move that back."""
        self.changed_at = max(self.changed_at, now)

    def change(self, changes: dict[str, Any], now: datetime) -> set[str]:
        """Take an edit over; return which fields it changed. A new interval counts from now."""
        self.note_change(now)
        before = self.fields()
        for name, value in changes.items():
            setattr(self, name, value)
        if self.schedule != before["schedule"] and "anchor" not in changes:
            self.anchor = None
        if self.anchor is None and self.counts_elapsed_time:
            self.anchor = now.replace(microsecond=0)
        return {name for name, value in self.fields().items() if value != before[name]}

    @property
    def next_run_at(self) -> datetime | None:
        """Return the first slot that nobody has decided; it is looked for once."""
        if not self.enabled or self.deleted or self.parked:
            return None
        told = (self.seen, *(getattr(self, name) for name in sorted(SCHEDULE_FIELDS)))
        if self.known_next is None or self.known_next[0] != told:
            self.known_next = (told, next(self.slots_after(self.seen), None))
        return self.known_next[1]


@dataclass(eq=False, kw_only=True)
class Execution:
    """One occurrence; ``earliest`` and ``latest`` bound a ``run_after`` that the engine draws."""

    task: Task
    handler: str
    trigger: str
    slot: datetime | None
    created_at: datetime
    earliest: datetime
    latest: datetime
    queue: str
    priority: int
    run_after: datetime | None = None
    status: str = "queued"
    reason: str = ""
    attempt: int = 0
    failures: int = 0
    losses: int = 0
    probation: int | None = None
    #: Does it run with nothing next to it, because it is a suspect?
    alone: bool = False
    stop_asked: bool = False
    requeued: bool = False
    worker: str = ""
    #: The attempts before the last: number, and how it ended.
    attempts: list[tuple[int, str]] = field(default_factory=list)
    #: Its row, once that is known.
    pk: int | None = None

    @property
    def by_schedule(self) -> bool:
        return self.trigger in BY_SCHEDULE

    @property
    def active(self) -> bool:
        return self.status in ("queued", "running")

    def again(
        self, ending: Ending, now: datetime, least: timedelta, most: timedelta | None = None
    ) -> None:
        """Wait for the next attempt, no earlier and no later than so long after this one."""
        self.attempts.append((self.attempt, ending.outcome))
        self.status, self.worker, self.run_after = "queued", "", None
        self.alone = False
        self.earliest = now + least
        self.latest = now + (least if most is None else most)

    def finish(self, status: str, reason: str = "") -> None:
        self.status, self.reason, self.worker = status, reason, ""
        self.alone = False

    def __str__(self) -> str:
        slot = f"{self.slot:%m-%d %H:%M:%S}" if self.slot else "by hand"
        return f"{self.task.name}[{slot}]"


@dataclass(eq=False, kw_only=True)
class Cover:
    """Slots that follow each other and are lost for one reason."""

    task: Task
    status: str
    reason: str
    slot: datetime
    slot_until: datetime
    slots: int = 1
    pk: int | None = None

    def __str__(self) -> str:
        return f"{self.task.name}[{self.slot:%m-%d %H:%M:%S}..{self.slot_until:%m-%d %H:%M:%S}]"


@dataclass(kw_only=True)
class Pause:
    """A pause of everything, from ``begun`` on and before ``until`` or its early end."""

    begun: datetime
    until: datetime | None
    ended: datetime | None = None

    def covers(self, moment: datetime) -> bool:
        ends = [end for end in (self.until, self.ended) if end is not None]
        return self.begun <= moment and all(moment < end for end in ends)


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How an attempt ends: success, failed, cancelled, later (RetryLater) or lost."""

    kind: str
    category: str = ""
    retryable: bool = True
    delay: float = 0
    charged: bool = True

    def __str__(self) -> str:
        match self.kind:
            case "failed":
                return f"failed ({self.category}{'' if self.retryable else ', for good'})"
            case "later":
                return f"wants to run again in {self.delay} s"
            case "lost":
                return self.outcome
        return self.kind

    @property
    def outcome(self) -> str:
        """Say in a word how an attempt ended that is followed by another."""
        return "given back" if self.kind == "lost" and not self.charged else self.kind
