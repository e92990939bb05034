"""What the five fields of a cron expression can hold, and what a parsed one holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from scheduled_tasks.exceptions import InvalidSchedule
from scheduled_tasks.schedules.text import quoted

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
#: By the number of the month, in common years.
DAYS_IN_MONTH = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
FEBRUARY = 2
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


# Compared by identity, so that it is cheap as a part of the key of a cache.
@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One of the five fields: its name, its range of numbers, and the names of numbers."""

    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()
    numbers: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number in range(self.low, self.high + 1):
            self.numbers[str(number)] = self.numbers[f"{number:02}"] = number
        self.numbers.update({word: self.low + index for index, word in enumerate(self.words)})

    @property
    def size(self) -> int:
        """The number of distinct values: Sunday has two numbers."""
        return 7 if self.words == WEEKDAYS else self.high - self.low + 1

    @property
    def top(self) -> int:
        """The last of the distinct values. Not ``high``: with 7, Sunday would be there twice."""
        return self.low + self.size - 1

    def refusal(self, reason: str, item: str) -> InvalidSchedule:
        """Return the error that refuses an item of this field."""
        return InvalidSchedule(f"The {self.name} field cannot be {quoted(item)}: {reason}.")


MINUTE = Field("minute", 0, 59)
HOUR = Field("hour", 0, 23)
DAY = Field("day-of-month", 1, 31)
MONTH = Field("month", 1, 12, MONTHS)
WEEKDAY = Field("day-of-week", 0, 7, WEEKDAYS)
FIELDS = (MINUTE, HOUR, DAY, MONTH, WEEKDAY)


class NthWeekday(NamedTuple):
    """One weekday of the month: its first to fifth, or with 0 its last."""

    weekday: int
    nth: int


# Tuples, since frozen dataclasses take four times as long to make.
class Values(NamedTuple):
    """The values of one field.

    ``numbers`` are ascending, with Sunday as 0. ``starred`` if the field starts with ``*``,
    ``last`` if it has an ``L``, the last day of the month.
    """

    field: Field
    items: tuple[range, ...]
    numbers: tuple[int, ...]
    starred: bool
    last: bool = False
    nth_weekdays: tuple[NthWeekday, ...] = ()

    @property
    def full(self) -> bool:
        """Whether the field excludes nothing."""
        return len(self.numbers) == self.field.size


class Fields(NamedTuple):
    """A parsed cron expression."""

    minute: Values
    hour: Values
    day: Values
    month: Values
    weekday: Values

    @property
    def wildcard(self) -> bool:
        """Whether the job follows the wall clock; otherwise its times are fixed."""
        return self.minute.starred or self.hour.starred

    @property
    def either_day(self) -> bool:
        """Whether one of the two day fields suffices; otherwise both must match."""
        return not (self.day.starred or self.weekday.starred)

    @property
    def day_comes(self) -> bool:
        """Whether any month of the expression has a day of the day-of-month field."""
        longest = max(DAYS_IN_MONTH[month] + (month == FEBRUARY) for month in self.month.numbers)
        return self.day.last or self.day.numbers[0] <= longest
