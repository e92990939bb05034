"""What a text in plain English probably means, for the errors that refuse it."""

from __future__ import annotations

import re

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
UNIT = r"(s|m|h|d|w)(?:ecs?|econds?|ins?|inutes?|rs?|ours?|ays?|eeks?)?"
NAMES_OF_UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week"}
LENGTH = re.compile(rf"(?:@?every )?(\d{{1,6}})(?:\.(\d{{1,3}}))? ?{UNIT}", re.ASCII)

DAYS = {
    "day": "*",
    "weekday": "MON-FRI",
    "working day": "MON-FRI",
    "weekend": "SAT,SUN",
    "sunday": "SUN",
    "monday": "MON",
    "tuesday": "TUE",
    "wednesday": "WED",
    "thursday": "THU",
    "friday": "FRI",
    "saturday": "SAT",
}
TIME_OF_DAY = r"(\d{1,2})(?::([0-5]\d))? ?(am|pm)?"
ON_DAYS = re.compile(rf"(?:every |on )?({'|'.join(DAYS)})s?(?: at {TIME_OF_DAY})?", re.ASCII)
AT_A_TIME = re.compile(r"(?:(?:daily )?at )?(\d{1,2})(?::([0-5]\d) ?(am|pm)?| ?(am|pm))", re.ASCII)
OTHERS = {
    "every month": "@monthly",
    "every year": "@yearly",
    "every other day": "every 2 days",
    "every other week": "every 2 weeks",
}
MONTHS_IN_YEAR, HOURS_IN_HALF, HOURS_IN_DAY = 12, 12, 24
EVERY_MONTHS = re.compile(r"every (\d{1,2}) months?", re.ASCII)


def meaning(text: str) -> str:
    """Return a text that can be parsed and probably says the same, "" if none comes to mind."""
    words = text.lower()
    if words in OTHERS:
        return OTHERS[words]
    if match := LENGTH.fullmatch(words):
        return interval(*match.groups())
    if match := ON_DAYS.fullmatch(words):
        day, hour, minute, half = match.groups()
        return times(hour or "0", minute, half, DAYS[day])
    if match := AT_A_TIME.fullmatch(words):
        hour, minute, half, full_hours_half = match.groups()
        return times(hour, minute, half or full_hours_half, "*")
    if (match := EVERY_MONTHS.fullmatch(words)) and 1 < int(match[1]) <= MONTHS_IN_YEAR:
        return f"0 0 1 */{match[1]} *"
    return ""


def interval(number: str, fraction: str | None, unit: str) -> str:
    """Return an interval in the unit that is given, or the largest smaller one that is whole."""
    thousandths = int(number) * 1000 + int((fraction or "0").ljust(3, "0"))
    seconds, rest = divmod(thousandths * UNITS[unit], 1000)
    if rest or not seconds:
        return ""
    whole = next(u for u in "wdhms" if UNITS[u] <= UNITS[unit] and seconds % UNITS[u] == 0)
    count = seconds // UNITS[whole]
    return f"every {count} {NAMES_OF_UNITS[whole]}{'s' if count > 1 else ''}"


def times(hour: str, minute: str | None, half: str | None, weekday: str) -> str:
    """Return a cron expression for one time on some days, "" if there is no such time."""
    number = int(hour)
    if half:
        if not 1 <= number <= HOURS_IN_HALF:
            return ""
        number = number % HOURS_IN_HALF + (HOURS_IN_HALF if half == "pm" else 0)
    return f"{int(minute or 0)} {number} * * {weekday}" if number < HOURS_IN_DAY else ""
