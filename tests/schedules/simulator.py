"""The rule for slots, told a second time: walk through real time and look at the clock.

Nothing here is shared with the package. A slot is an instant at which a clock on the wall comes to
a time that the expression names; the rules for gaps and folds are applied as they are written.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]


class Simulator:
    """An expression of the grammar, as a predicate of local times."""

    def __init__(self, expression: str) -> None:
        minute, hour, day, month, weekday = expression.upper().split()
        self.follows_the_clock = minute[0] == "*" or hour[0] == "*"
        self.both_days = day[0] == "*" or weekday[0] == "*"
        self.last_day = "L" in day.split(",")
        self.minutes = numbers(minute, 0, 59)
        self.hours = numbers(hour, 0, 23)
        self.days = numbers(day, 1, 31)
        self.months = numbers(month, 1, 12, ["", *MONTHS])
        plain = [item for item in weekday.split(",") if item[-1] != "L" and "#" not in item]
        self.weekdays = (
            {n % 7 for n in numbers(",".join(plain), 0, 6, WEEKDAYS)} if plain else set()
        )
        self.last_weekdays = {
            number(item[:-1], WEEKDAYS) % 7 for item in weekday.split(",") if item[-1] == "L"
        }
        self.nth_weekdays = {
            (number(item[:-2], WEEKDAYS) % 7, int(item[-1]))
            for item in weekday.split(",")
            if "#" in item
        }

    def matches(self, local: datetime) -> bool:
        if local.second or local.minute not in self.minutes or local.hour not in self.hours:
            return False
        if local.month not in self.months:
            return False
        day, weekday = self.matches_day(local), self.matches_weekday(local)
        return (day and weekday) if self.both_days else (day or weekday)

    def matches_day(self, local: datetime) -> bool:
        is_last = local.day == monthrange(local.year, local.month)[1]
        return local.day in self.days or (self.last_day and is_last)

    def matches_weekday(self, local: datetime) -> bool:
        weekday = local.isoweekday() % 7
        is_last = (local + timedelta(days=7)).month != local.month
        counted = sum((local - timedelta(days=7 * n)).month == local.month for n in range(5))
        return (
            weekday in self.weekdays
            or (weekday in self.last_weekdays and is_last)
            or (weekday, counted) in self.nth_weekdays
        )

    def slots(self, zone: ZoneInfo, after: datetime, until: datetime) -> Iterator[datetime]:
        """Yield the slots in (after, until]; the offset must have been steady for two days."""
        start = after - timedelta(days=2)
        latest = wall(start, zone)
        for expected, local, instant in steps(start, until, zone):
            due = self.matches(local)
            if not self.follows_the_clock:
                due = due and local > latest
                due = due or any(map(self.matches, skipped(expected, local)))
            latest = max(latest, local)
            if due and instant > after:
                yield instant


def steps(
    start: datetime, until: datetime, zone: ZoneInfo
) -> Iterator[tuple[datetime, datetime, datetime]]:
    """Walk from full minute to full minute of the clock, and to each second at which it is put.

    Yield the time that the clock would have shown, the time that it shows, and the instant.
    """
    instant, local = start, wall(start, zone)
    while instant < until:
        spans = [timedelta(seconds=60 - local.second)]
        if wall(instant + spans[0], zone) - local != spans[0]:
            spans = [n * SECOND for n in range(1, 61)]
        span = next(
            (span for span in spans[:-1] if wall(instant + span, zone) - local != span), spans[-1]
        )
        expected, instant = local + span, instant + span
        local = wall(instant, zone)
        yield expected, local, instant


def skipped(expected: datetime, shown: datetime) -> Iterator[datetime]:
    """Yield the full minutes that a clock put from one time to another did not show."""
    minute = expected if not expected.second else expected.replace(second=0) + MINUTE
    while minute < shown:
        yield minute
        minute += MINUTE


def wall(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def numbers(text: str, low: int, high: int, words: list[str] | None = None) -> set[int]:
    found: set[int] = set()
    for item in text.split(","):
        if item == "L":
            continue
        span, _, step = item.partition("/")
        first, _, last = span.partition("-")
        if span == "*":
            start, end = low, high
        else:
            start = number(first, words)
            end = number(last, words) if last else start
            if last == "SUN" and start > 0:
                end = 7
        found |= set(range(start, end + 1)[:: int(step or 1)])
    return found


def number(word: str, words: list[str] | None) -> int:
    return words.index(word) if words and word in words else int(word)
