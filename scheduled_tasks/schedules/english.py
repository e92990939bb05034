"""What a text in plain English probably means, for the errors that refuse it."""

from __future__ import annotations

import re
from itertools import starmap

from scheduled_tasks.schedules.lengths import MAX_INTERVAL, SECONDS

UNITS = {unit[0]: unit for unit in SECONDS}
UNIT = r"(s|m|h|d|w)(?:ecs?|econds?|ins?|inutes?|rs?|ours?|ays?|eeks?)?"
LENGTH = re.compile(rf"(\d{{1,6}})(?:\.(\d{{1,3}}))? ?{UNIT}", re.ASCII)
BETWEEN_LENGTHS = r"(?:,? (?:and )?)?"
LENGTHS = re.compile(
    rf"(?:@?every )?(?P<all>{LENGTH.pattern}(?:{BETWEEN_LENGTHS}{LENGTH.pattern})*)", re.ASCII
)

#: Patterns of words, and what stands for them.
SYNONYMS = {
    r"each": "every",
    r"an? half|half an?": "half",
    r"half hour": "30 minutes",
    r"noon": "12:00",
    r"midnight": "0:00",
    r"daily": "every day",
    r"weekly": "every sunday",
    r"one": "1",
    r"two": "2",
    r"three": "3",
    r"four": "4",
    r"five": "5",
    r"six": "6",
}

DAYS = {"day": "*", "weekday": "MON-FRI", "working day": "MON-FRI", "weekend": "SAT,SUN"}
WEEKDAY = r"(?:(?:sun|mon|fri)(?:day)?|tue(?:sday)?|wed(?:nesday)?|thur?(?:sday)?|sat(?:urday)?)s?"
BETWEEN_DAYS = r"(?:,? and |, ?)"
WEEKDAYS = rf"{WEEKDAY}(?:{BETWEEN_DAYS}{WEEKDAY})*"
ON_DAYS = re.compile(rf"(?:every |on )?(?:({'|'.join(DAYS)})s?|({WEEKDAYS}))(?: (.+))?", re.ASCII)
TIME = re.compile(r"(at )?(\d{1,2})(?::([0-5]\d))? ?(am|pm)?", re.ASCII)

OTHERS = {
    "every month": "@monthly",
    "every year": "@yearly",
    "every 12 months": "@yearly",
    "every other day": "every 2 days",
    "every other week": "every 2 weeks",
    # With other numbers, the steps are uneven at the end of the year.
    **{f"every {number} months": f"0 0 1 */{number} *" for number in (2, 3, 4, 6)},
}
HOURS_IN_HALF, HOURS_IN_DAY = 12, 24


def meaning(text: str) -> str:
    """Return a text that can be parsed and probably says the same, "" if none comes to mind."""
    words = text.lower()
    for synonym, word in SYNONYMS.items():
        words = re.sub(rf"\b(?:{synonym})\b", word, words)
    if words in OTHERS:
        return OTHERS[words]
    if match := LENGTHS.fullmatch(words):
        return interval(match["all"])
    if match := ON_DAYS.fullmatch(words):
        kind, names, time = match.groups()
        return cron(time or "at 0", DAYS[kind] if kind else weekdays(names))
    return cron(words, "*")


def interval(lengths: str) -> str:
    """Return an interval in the smallest unit that is given, or in a smaller one that is whole."""
    parts = [(number, fraction, UNITS[unit]) for number, fraction, unit in LENGTH.findall(lengths)]
    smallest = min(SECONDS[unit] for _, _, unit in parts)
    seconds, rest = divmod(sum(starmap(thousandths, parts)), 1000)
    if rest or not 0 < seconds <= MAX_INTERVAL.total_seconds():
        return ""
    unit = next(name for name, unit in SECONDS.items() if unit <= smallest and not seconds % unit)
    count = seconds // SECONDS[unit]
    return f"every {count} {unit}{'s' if count > 1 else ''}"


def thousandths(number: str, fraction: str, unit: str) -> int:
    return int(number + fraction.ljust(3, "0")) * SECONDS[unit]


def weekdays(names: str) -> str:
    """Return the field of cron for names of weekdays."""
    return ",".join(name[:3].upper() for name in re.split(BETWEEN_DAYS, names))


def cron(time: str, weekday: str) -> str:
    """Return a cron expression for one time on some days, "" if it is no clear time."""
    match = TIME.fullmatch(time)
    if match is None or not any(match.group(1, 3, 4)):
        return ""  # a number alone may be a day
    _, hour, minute, half = match.groups()
    number = int(hour)
    if half:
        if not 1 <= number <= HOURS_IN_HALF:
            return ""
        number = number % HOURS_IN_HALF + (HOURS_IN_HALF if half == "pm" else 0)
    return f"{int(minute or 0)} {number} * * {weekday}" if number < HOURS_IN_DAY else ""
