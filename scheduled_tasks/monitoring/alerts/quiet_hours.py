"""Quiet hours: the time of the day in which a notifier is not disturbed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from scheduled_tasks.exceptions import InvalidSchedule, InvalidSettings
from scheduled_tasks.models.task import project_timezone
from scheduled_tasks.schedules import zone
from scheduled_tasks.schedules.wall_clock import first_instant, last_instant

TEXT = re.compile(r"(\d\d?):(\d\d)\s*-\s*(\d\d?):(\d\d)(?:\s+(\S+))?")
EXAMPLE = "write '22:00-07:00', or '22:00-07:00 Europe/Berlin'."


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From a time of the day until another one, perhaps of the next day, in a time zone."""

    start: time
    end: time
    timezone: ZoneInfo

    @classmethod
    def parse(cls, text: object, *, where: str) -> QuietHours:
        """Parse ``22:00-07:00 Europe/Berlin``; the zone defaults to TIME_ZONE.

        Raise InvalidSettings, with ``where`` in the sentence.
        """
        match = TEXT.fullmatch(text.strip()) if isinstance(text, str) else None
        if match is None:
            raise InvalidSettings(f"{where} is {text!r}, not two times of the day: {EXAMPLE}")
        try:
            start = time(int(match[1]), int(match[2]))
            end = time(int(match[3]), int(match[4]))
            timezone = zone(match[5] or project_timezone())
        except (ValueError, InvalidSchedule) as error:
            raise InvalidSettings(f"{where} is {text!r}: {error}; {EXAMPLE}") from None
        if start == end:
            raise InvalidSettings(f"{where} is {text!r}, which begins when it ends: {EXAMPLE}")
        return cls(start, end, timezone)

    def end_after(self, now: datetime) -> datetime | None:
        """Return when the quiet hours end that a moment lies in, None if it lies in none.

        Where the clocks go back over a limit, they last from its first time to its second one.
        """
        today = now.astimezone(self.timezone).date()
        spans = (self.of_day(today - timedelta(days=days)) for days in (1, 0))
        return max((end for start, end in spans if start <= now < end), default=None)

    def of_day(self, day: date) -> tuple[datetime, datetime]:
        """Return when the quiet hours begin that begin on a day, and when they end."""
        last_day = day + timedelta(days=1) if self.start > self.end else day
        # As instants: local times do not tell in which order things happen when the clocks change.
        return (
            first_instant(datetime.combine(day, self.start), self.timezone),
            last_instant(datetime.combine(last_day, self.end), self.timezone),
        )
