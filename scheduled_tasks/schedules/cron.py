"""Cron expressions, in the local time of a zone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from scheduled_tasks.schedules.base import Schedule, in_utc
from scheduled_tasks.schedules.cron_description import describe_fields
from scheduled_tasks.schedules.cron_grammar import read
from scheduled_tasks.schedules.cron_matching import Timetable
from scheduled_tasks.schedules.text import checked
from scheduled_tasks.schedules.wall_clock import (
    SECOND,
    change,
    first_instant,
    repeats_until,
    wall_time,
)
from scheduled_tasks.schedules.zones import DEFAULT_ZONE, zone

DAY = timedelta(days=1)
#: Within this span the offset changes at most once, and any fold that has begun ends.
HORIZON = 2 * DAY


@dataclass(frozen=True, slots=True)
class Cron(Schedule):
    """Slots at the local times that match an expression of five fields.

    When clocks change, Debian cron's rule holds. A job whose minute or hour field starts with
    ``*`` follows the clock in real time: nothing in a gap, both passes of a fold. Any other job
    has fixed times: one in a gap comes at the first instant after it, one in a fold comes in the
    first pass only. A day field that starts with ``*`` is ANDed with the other, else they are ORed.

    Raise InvalidSchedule for an invalid expression or zone.
    """

    expression: str
    timezone: str = field(default=DEFAULT_ZONE, kw_only=True)
    timetable: Timetable = field(init=False, repr=False, compare=False)
    clock: ZoneInfo = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        expression = checked(self.expression, read)
        object.__setattr__(self, "timetable", read(expression))
        macro = expression.startswith("@")
        canonical = expression.lower() if macro else expression.upper()
        object.__setattr__(self, "expression", canonical)
        object.__setattr__(self, "clock", zone(self.timezone))

    def __reduce__(self) -> tuple[Callable[..., Cron], tuple[str]]:
        # A copy reads the text again: what was read holds fields, which are compared by identity.
        return partial(Cron, timezone=self.timezone), (self.expression,)

    @property
    def text(self) -> str:
        """The expression, with names in capitals and single spaces."""
        return self.expression

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first slot strictly after ``moment``, None after the year 9999."""
        start = in_utc(moment)
        if start.microsecond:
            # Offsets and matches are whole seconds, so fractions do not matter.
            start = start.replace(microsecond=0)
        try:
            return self.follow(self.timetable, self.clock, start)
        except OverflowError:
            return None

    @property
    def follow(self) -> Callable[[Timetable, ZoneInfo, datetime], datetime]:
        """The rule for clock changes."""
        return next_by_wall_clock if self.timetable.wildcard else next_fixed_time

    def describe(self) -> str:
        description = describe_fields(self.timetable.fields)
        return description if self.timezone == "UTC" else f"{description} ({self.timezone})"


def next_fixed_time(timetable: Timetable, clock: ZoneInfo, start: datetime) -> datetime:
    """Return the next slot of a job with fixed times, which the rule for gaps makes exist daily.

    The instants of local times are in the same order as the times. In the second pass of a fold,
    the instants of all local times up to the end of the fold have passed.
    """
    fold_end = repeats_until(start, clock)
    after = wall_time(start, clock) if fold_end is None else fold_end - SECOND
    return first_instant(timetable.next_match(after), clock)


def next_by_wall_clock(timetable: Timetable, clock: ZoneInfo, start: datetime) -> datetime:
    """Return the next slot of a job that follows the wall clock.

    1. Find the next match as if the offset did not change.
    2. If the offset changes before it, continue from the change, whose own instant may match.
    3. If the match is days ahead, continue one day before the match read as UTC: no zone shows
       that local time earlier.
    """
    after = local = wall_time(start, clock)
    while True:
        match = timetable.next_match(after)
        ahead = match - local
        near = ahead <= HORIZON
        reach = start + (ahead if near else HORIZON)
        if wall_time(reach, clock) - local != reach - start:
            start = change(start, reach, clock)
            local = wall_time(start, clock)
            after = local - SECOND
        elif near:
            return reach
        else:
            start = max(reach, match.replace(tzinfo=UTC) - DAY)
            after = local = wall_time(start, clock)
