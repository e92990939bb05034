"""Quiet hours: the time of the day in which a notifier is not disturbed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from scheduled_tasks.exceptions import InvalidSchedule, InvalidSettings
from scheduled_tasks.models.task import project_timezone
from scheduled_tasks.schedules import zone

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
        """Return when the quiet hours end that a moment lies in, None if it lies in none."""
        local = now.astimezone(self.timezone)
        over_midnight = self.start > self.end
        clock = local.time()
        if over_midnight:
            quiet = clock >= self.start or clock < self.end
        else:
            quiet = self.start <= clock < self.end
        if not quiet:
            return None
        day = local.date()
        if over_midnight and clock >= self.start:
            day += timedelta(days=1)
        return datetime.combine(day, self.end, tzinfo=self.timezone)
