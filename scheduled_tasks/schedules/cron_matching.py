"""Finds the local times that match a cron expression, by stepping over sorted numbers.

The days of a month are the bits 1 to 31 of an integer. They depend on the weekday of its first day
and on its length only, so a timetable computes them at most 28 times.
"""

from __future__ import annotations

from bisect import bisect_right
from calendar import isleap
from datetime import date, datetime

from scheduled_tasks.schedules.cron_fields import DAYS_IN_MONTH, FEBRUARY, Fields, NthWeekday

#: For each weekday of the first day of a month, the days of each weekday. Sunday is 0.
DAYS_OF_WEEKDAY = tuple(
    tuple(sum(1 << day for day in range(1, 32) if (first + day - 1) % 7 == w) for w in range(7))
    for first in range(7)
)


class Timetable:
    """The local times of an expression. Immutable but for a cache, so threads may share it."""

    __slots__ = ("by_month", "day_bits", "fields", "hours", "minutes", "months", "wildcard")

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.wildcard = fields.wildcard
        self.minutes = fields.minute.numbers
        self.hours = fields.hour.numbers
        self.months = fields.month.numbers
        self.day_bits = sum([1 << day for day in fields.day.numbers])
        self.by_month: dict[tuple[int, int], int] = {}

    def next_match(self, after: datetime) -> datetime:
        """Return the first matching minute strictly after a local time.

        Raise OverflowError if it would lie beyond the year 9999.
        """
        year, month, day, hour = after.year, after.month, after.day, after.hour
        days = self.days(year, month)
        if days >> day & 1:
            hours, minutes = self.hours, self.minutes
            later = bisect_right(hours, hour)
            if later and hours[later - 1] == hour and after.minute < minutes[-1]:
                minute = minutes[bisect_right(minutes, after.minute)]
                return datetime(year, month, day, hour, minute)  # noqa: DTZ001
            if later < len(hours):
                return datetime(year, month, day, hours[later], minutes[0])  # noqa: DTZ001
        return self.next_day(year, month, days >> day + 1 << day + 1)

    def next_day(self, year: int, month: int, days: int) -> datetime:
        """Return the first time on the first of the days that are left of a month, or later."""
        while not days:
            index = bisect_right(self.months, month)
            if index == len(self.months):
                index, year = 0, year + 1
            month = self.months[index]
            days = self.days(year, month)
        day = (days & -days).bit_length() - 1
        return datetime(year, month, day, self.hours[0], self.minutes[0])  # noqa: DTZ001

    def days(self, year: int, month: int) -> int:
        """Return the matching days of a month; raise OverflowError beyond the year 9999."""
        if month not in self.months:
            return 0
        try:
            first = date(year, month, 1).isoweekday() % 7
        except ValueError as error:
            raise OverflowError from error
        key = first, DAYS_IN_MONTH[month] + (month == FEBRUARY and isleap(year))
        if key not in self.by_month:
            self.by_month[key] = self.matching_days(*key)
        return self.by_month[key]

    def matching_days(self, first: int, length: int) -> int:
        """Return the matching days of a month that starts on a weekday and has a length."""
        fields, of_weekday = self.fields, DAYS_OF_WEEKDAY[first]
        days = self.day_bits | (1 << length if fields.day.last else 0)
        weekdays = 0
        for weekday in fields.weekday.numbers:
            weekdays |= of_weekday[weekday]
        for nth_weekday in fields.weekday.nth_weekdays:
            weekdays |= nth_day(nth_weekday, of_weekday, length)
        matching = days | weekdays if fields.either_day else days & weekdays
        return matching & (2 << length) - 2

    @property
    def ever_matches(self) -> bool:
        """Whether any month has a matching day. Every month starts on every weekday at times."""
        lengths = {DAYS_IN_MONTH[month] for month in self.months}
        if FEBRUARY in self.months:
            lengths.add(29)
        return any(self.matching_days(first, size) for size in lengths for first in range(7))


def nth_day(wanted: NthWeekday, of_weekday: tuple[int, ...], length: int) -> int:
    """Return the bit of one weekday of a month; a fifth lies beyond the end of most months."""
    days = of_weekday[wanted.weekday] & (2 << length) - 2
    first = (days & -days).bit_length() - 1
    if not wanted.nth:
        return 1 << days.bit_length() - 1
    return 1 << first + 7 * (wanted.nth - 1)
