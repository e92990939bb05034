"""What happened, as plain values: what the checker judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import inf

from tests.chaos.journal import Line
from tests.chaos.messages import Message
from tests.chaos.people import Deed
from tests.chaos.plan import LEASE, Planned

#: Whoever is silent for less, in seconds, loses nothing, even if it happens twice in a row.
HARMLESS = LEASE / 3
#: The statuses of slots that get no execution.
COVERED = ("skipped", "missed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An execution, or what covers slots; workers go by their labels."""

    id: int
    task: str
    status: str
    trigger: str = "schedule"
    slot: datetime | None = None
    slot_until: datetime | None = None
    slots: int = 1
    attempt: int = 0
    failures: int = 0
    losses: int = 0
    worker: str = ""
    exclusive: int | None = None
    cancel_asked: bool = False
    category: str = ""
    reason: str = ""
    created_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def failed(self) -> bool:
        """Say whether it has failed for good."""
        return self.status == "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """An attempt that was followed by another."""

    execution: int
    number: int
    outcome: str
    worker: str
    finished_at: datetime
    category: str = ""

    @property
    def failed(self) -> bool:
        """Say whether it came to an end of its own, which was no success."""
        return self.outcome in ("failed", "postponed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """An alert; it is open if it has not been cleared. ``slot`` is that of a missed one."""

    id: str
    condition: str
    raised_at: datetime
    task: str = ""
    subject: str = ""
    execution: int | None = None
    cleared_at: datetime | None = None
    slot: datetime | None = None

    def covers(self, moment: datetime) -> bool:
        """Say whether it was open at a moment."""
        return self.raised_at <= moment and (self.cleared_at is None or moment <= self.cleared_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A message as it was left in the outbox, and whether it is on record as sent."""

    alert: str
    event: str
    delivered: bool


@dataclass(frozen=True, slots=True)
class Harm:
    """What was done to a worker, from when on, by the journal's clock, and for how many seconds."""

    what: str
    begun: float
    seconds: float = 0.0

    @property
    def costs_the_worker(self) -> bool:
        """Say whether others may give the worker up for it."""
        silent = self.what in ("frozen", "cut off") and self.seconds >= HARMLESS
        return silent or self.what in ("killed", "stopped")

    @property
    def costs_runs(self) -> bool:
        """Say whether the worker may lose runs by it."""
        frozen = self.what == "fork server frozen" and self.seconds >= HARMLESS
        return frozen or self.what == "fork server killed" or self.costs_the_worker


@dataclass(slots=True, kw_only=True)
class Life:
    """What became of one worker's process; ``exit_code`` is None while it is there.

    ``ended_at`` is when it was seen to have ended, by the journal's clock.
    """

    label: str
    harms: list[Harm] = field(default_factory=list)
    exit_code: int | None = None
    ended_at: float = inf

    def may(self, cost: str, *, by: float) -> bool:
        """Say whether anything was begun by then that has a cost, named as in Harm."""
        return any(harm.begun <= by and getattr(harm, cost) for harm in self.harms)


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which there was no database."""

    begun: datetime
    ended: datetime

    @property
    def seconds(self) -> float:
        """Return how long it was."""
        return (self.ended - self.begun).total_seconds()


@dataclass(slots=True, kw_only=True)
class History:
    """All that is known. ``counts`` are those of the tasks' states, ``states`` those of workers.

    ``left`` names processes that should be gone.
    """

    tasks: Mapping[str, Planned] = field(default_factory=dict)
    rows: Sequence[Row] = ()
    tried: Sequence[Tried] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    states: Mapping[str, str] = field(default_factory=dict)
    journal: Sequence[Line] = ()
    lives: Mapping[str, Life] = field(default_factory=dict)
    outages: Sequence[Outage] = ()
    deeds: Sequence[Deed] = ()
    left: Sequence[str] = ()
    #: Failures in a row of each task, as its state has them.
    failing: Mapping[str, int] = field(default_factory=dict)
    alarms: Sequence[Alarm] = ()
    outbox: Sequence[Due] = ()
    messages: Sequence[Message] = ()
