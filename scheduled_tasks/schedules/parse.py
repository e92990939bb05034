"""Parses the text of a schedule."""

from __future__ import annotations

from datetime import datetime

from scheduled_tasks.schedules.base import Schedule
from scheduled_tasks.schedules.cron import Cron
from scheduled_tasks.schedules.interval import Interval
from scheduled_tasks.schedules.once import Once
from scheduled_tasks.schedules.text import checked
from scheduled_tasks.schedules.zones import DEFAULT_ZONE, zone


def parse(
    text: str, timezone: str = DEFAULT_ZONE, *, anchor: datetime | None = None
) -> Schedule | None:
    """Return the schedule of a text in a time zone, or None for a blank text: manual runs only.

    ``anchor`` is where an interval starts to count. Raise InvalidSchedule for an invalid text; the
    message is one sentence for the person who wrote it.
    """
    zone(timezone)
    words = checked(text, parse)
    match words.lower().partition(" ")[0]:
        case "":
            return None
        case "every" | "@every":
            return Interval.from_text(words, anchor=anchor)
        case "at":
            return Once.from_text(words, timezone=timezone)
        case _:
            return Cron(words, timezone=timezone)
