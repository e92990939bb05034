"""Intervals of elapsed time."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from scheduled_tasks.exceptions import InvalidSchedule
from scheduled_tasks.schedules.base import Schedule, in_utc
from scheduled_tasks.schedules.english import meaning
from scheduled_tasks.schedules.lengths import MAX_INTERVAL, MIN_INTERVAL, SECONDS
from scheduled_tasks.schedules.text import checked, quoted

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CANONICAL_UNITS = ("day", "hour", "minute", "second")
IN_WORDS = re.compile(r"(?:(\d+) )?(second|minute|hour|day|week)(s?)", re.ASCII)
IN_LETTERS = re.compile(r"(?=\d)(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Interval(Schedule):
    """Slots at ``anchor + k * every`` for k = 0, 1, 2, … in elapsed time, whatever clocks do.

    Without an anchor they count from the Unix epoch, so that all processes agree. Raise
    InvalidSchedule unless ``every`` is a whole number of seconds, from one second to 366 days.
    """

    every: timedelta
    anchor: datetime | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_length(self.every)
        if self.anchor is not None:
            object.__setattr__(self, "anchor", checked_anchor(self.anchor))

    @classmethod
    def from_text(cls, text: str, *, anchor: datetime | None = None) -> Interval:
        """Read ``every 15 minutes``, ``every hour``, ``@every 1h30m``; raise InvalidSchedule."""
        words = checked(text, cls.from_text).lower()
        length = words.removeprefix("@").removeprefix("every ")
        return cls(read_length(length, words), anchor=anchor)

    @property
    def text(self) -> str:
        """``every N unit`` in the largest unit, up to days, without a remainder."""
        number, unit = self.parts
        return f"every {number} {unit}" if number == 1 else f"every {number} {unit}s"

    @property
    def timezone(self) -> str:
        """UTC: elapsed time has no zone."""
        return "UTC"

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first slot strictly after ``moment``, None after the year 9999."""
        start, anchor = in_utc(moment), self.anchor or EPOCH
        if start < anchor:
            return anchor
        try:
            return anchor + ((start - anchor) // self.every + 1) * self.every
        except OverflowError:
            return None

    def describe(self) -> str:
        number, unit = self.parts
        return f"Every {unit}" if number == 1 else f"Every {number} {unit}s"

    @property
    def parts(self) -> tuple[int, str]:
        """The number and the unit of the canonical text."""
        seconds = self.every // MIN_INTERVAL
        unit = next(unit for unit in CANONICAL_UNITS if seconds % SECONDS[unit] == 0)
        return seconds // SECONDS[unit], unit


def check_length(every: object) -> None:
    if not isinstance(every, timedelta):
        raise InvalidSchedule(f"An interval is a timedelta, not {type(every).__name__}.")
    if not MIN_INTERVAL <= every <= MAX_INTERVAL:
        raise InvalidSchedule(f"An interval lasts from 1 second to {MAX_INTERVAL.days} days.")
    if every % MIN_INTERVAL:
        raise InvalidSchedule("An interval is a whole number of seconds.")


def checked_anchor(anchor: object) -> datetime:
    if not isinstance(anchor, datetime):
        raise InvalidSchedule(f"An anchor is a datetime, not {type(anchor).__name__}.")
    if anchor.utcoffset() is None:
        raise InvalidSchedule(f"The anchor {anchor} has no time zone: pass an aware datetime.")
    return in_utc(anchor)


def read_length(length: str, text: str) -> timedelta:
    try:
        if (match := IN_WORDS.fullmatch(length)) and (match[1] or not match[3]):
            return timedelta(seconds=int(match[1] or 1) * SECONDS[match[2]])
        if match := IN_LETTERS.fullmatch(length):
            weeks, days, hours, minutes, seconds = (int(number or 0) for number in match.groups())
            return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        return timedelta.max
    if (proposal := meaning(text)) and proposal != text:
        raise InvalidSchedule(f"An interval cannot be {quoted(text)}, write {proposal!r}.")
    raise InvalidSchedule(
        f"An interval reads 'every 15 minutes', 'every hour' or '@every 1h30m', not {quoted(text)}."
    )
