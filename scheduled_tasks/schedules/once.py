"""A schedule with a single slot."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime

from scheduled_tasks.exceptions import InvalidSchedule
from scheduled_tasks.schedules.base import LATEST, Schedule, in_utc
from scheduled_tasks.schedules.english import meaning
from scheduled_tasks.schedules.text import checked, quoted
from scheduled_tasks.schedules.wall_clock import first_instant
from scheduled_tasks.schedules.zones import DEFAULT_ZONE, zone, zone_meant

EPOCH_YEAR = 1970
MOMENT = re.compile(
    r"at (\d{4}-\d\d-\d\d[ t](?:[01]\d|2[0-3]):\d\d(?::\d\d)?)", re.ASCII | re.IGNORECASE
)
ONE_DIGIT = re.compile(r"(?<=[- T])(?=\d(?:[-: T]|$))", re.ASCII)


@dataclass(frozen=True, slots=True)
class Once(Schedule):
    """A single slot at a local time of a zone, to the second; fractions are dropped.

    ``at`` is naive, or aware and then converted to the zone. A local time inside a gap means the
    first instant after it; one that occurs twice means the first occurrence. Raise InvalidSchedule
    for years outside 1970 to 9999, and for an aware time in the second pass of a fold, which no
    local time can express.
    """

    at: datetime
    timezone: str = field(default=DEFAULT_ZONE, kw_only=True)

    def __post_init__(self) -> None:
        aware = isinstance(self.at, datetime) and self.at.utcoffset() is not None
        object.__setattr__(self, "at", local_time(self.at, self.timezone))
        if aware:
            # What is left of the moment is a local time, which means another moment elsewhere.
            object.__setattr__(self, "timezone", str(self.timezone))

    @classmethod
    def from_text(cls, text: str, *, timezone: str = DEFAULT_ZONE) -> Once:
        """Read ``at 2026-12-01 09:00`` or ``at 2026-12-01 09:00:30``; raise InvalidSchedule."""
        words = checked(text, cls.from_text)
        match = MOMENT.fullmatch(words)
        if match is None:
            raise moment_refusal(words)
        try:
            at = datetime.fromisoformat(match[1])
        except ValueError as error:
            raise InvalidSchedule(f"There is no moment {quoted(words)}: {error}.") from error
        return cls(at, timezone=timezone)

    @property
    def text(self) -> str:
        """``at`` and the local time, with seconds if they are not 0."""
        return f"at {self.day} {self.time}"

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the one slot if it lies strictly after ``moment``."""
        slot = first_instant(self.at, zone(self.timezone))
        return slot if slot > in_utc(moment) else None

    def describe(self) -> str:
        return f"Once, on {self.day} at {self.time} ({self.timezone})"

    @property
    def day(self) -> str:
        return self.at.date().isoformat()

    @property
    def time(self) -> str:
        """The local time as text, with seconds if they are not 0."""
        return self.at.time().isoformat("seconds" if self.at.second else "minutes")


def moment_refusal(text: str) -> InvalidSchedule:
    """Return the error for a text that is no local time, and what to write instead."""
    moment, _, name = text.rpartition(" ")
    known = zone_meant(name)
    proposal = proposal_for(moment if known else text)
    if proposal and known and "timezone=" not in proposal:
        proposal = f"{proposal} with timezone={known!r}"
    example = "A moment reads 'at 2026-12-01 09:00'"
    return InvalidSchedule(f"{example}, not {quoted(text)}{proposal and f': write {proposal}'}.")


def proposal_for(text: str) -> str:
    if moment := written(text[3:]):
        return moment
    return repr(proposal) if (proposal := meaning(text)) else ""


def written(moment: str) -> str:
    """Return how to write a moment that ISO 8601 knows, "" if it is none that can be written."""
    try:
        at = datetime.fromisoformat(ONE_DIGIT.sub("0", moment))
    except ValueError:
        return ""
    aware = at.tzinfo is not None
    local = in_utc(at).replace(tzinfo=None) if aware else at
    if not EPOCH_YEAR <= local.year < LATEST.year:
        return ""
    text = local.isoformat(" ", "seconds" if local.second else "minutes")
    return f"'at {text}' with timezone='UTC'" if aware else f"'at {text}'"


def local_time(at: object, timezone: str) -> datetime:
    if not isinstance(at, datetime):
        raise InvalidSchedule(f"A moment is a datetime, not {type(at).__name__}.")
    clock = zone(timezone)
    try:
        local = at if at.utcoffset() is None else at.astimezone(clock)
        second_pass = local.tzinfo is not None and local.fold
        local = local.replace(microsecond=0, tzinfo=None, fold=0)
        first_instant(local, clock)
    except OverflowError as error:
        raise outside(at) from error
    if local.year < EPOCH_YEAR:
        raise outside(at)
    if second_pass:
        raise InvalidSchedule(
            f"The moment {at} lies in the second pass of a local time that comes twice in "
            f"{timezone}: give the schedule the time zone 'UTC'."
        )
    return local


def outside(at: datetime) -> InvalidSchedule:
    return InvalidSchedule(f"The moment {at} lies outside the years {EPOCH_YEAR} to 9999.")
