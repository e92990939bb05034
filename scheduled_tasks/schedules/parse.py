"""From the text of a schedule to its value."""

from __future__ import annotations

from datetime import datetime

from scheduled_tasks.schedules.base import Schedule
from scheduled_tasks.schedules.cron import Cron
from scheduled_tasks.schedules.interval import Interval
from scheduled_tasks.schedules.once import Once
from scheduled_tasks.schedules.text import checked
from scheduled_tasks.schedules.zones import zone


def parse(text: str, timezone: str = "UTC", *, anchor: datetime | None = None) -> Schedule | None:
    """Return the schedule that a text means in a zone, or None for a blank text: by hand only.

    ``anchor`` is where an interval starts to count. Raise InvalidSchedule for what is not
    understood; its message is one sentence for the person who wrote the text.
    """
    zone(timezone)
    words = checked(text)
    match words.lower().partition(" ")[0]:
        case "":
            return None
        case "every" | "@every":
            return Interval.from_text(words, anchor=anchor)
        case "at":
            return Once.from_text(words, timezone=timezone)
        case _:
            return Cron(words, timezone=timezone)
