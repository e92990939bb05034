"""The five fields of a cron expression: the syntax, and an error for everything else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

from scheduled_tasks.exceptions import InvalidSchedule
from scheduled_tasks.schedules.text import quoted

MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
DAYS_IN_MONTH = dict(
    zip(range(1, 13), (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), strict=True)
)

ITEM = re.compile(r"(?:(?P<star>\*)|(?P<low>\w+)(?:-(?P<high>\w+))?)(?:/(?P<step>\w+))?", re.ASCII)
UNSUPPORTED = (
    (r".*\?.*", "'?' is not supported, write '*'"),
    (r"[HR](\(.*\))?(/.*)?", "hashed (H) and random (R) values are not supported, write a number"),
    (r"\d+W|W\d+|LW", "W, the nearest working day, is not supported"),
    (r".*#.*", "'#' is not supported, write the day of the week and check the date in the handler"),
    (
        r"L.+|.*\dL|[A-Z]{3}L|L",
        "L means the last day of the month and stands alone in day-of-month",
    ),
)


@dataclass(frozen=True, slots=True)
class Field:
    """One of the five fields: its name, its range of numbers, and the names of numbers."""

    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The number of distinct values: Sunday has two numbers."""
        return 7 if self.words == WEEKDAYS else self.high - self.low + 1

    def refusal(self, reason: str, item: str) -> InvalidSchedule:
        """Return the error that refuses an item of this field."""
        return InvalidSchedule(f"The {self.name} field cannot be {quoted(item)}: {reason}.")


MINUTE = Field("minute", 0, 59)
HOUR = Field("hour", 0, 23)
DAY = Field("day-of-month", 1, 31)
MONTH = Field("month", 1, 12, MONTHS)
WEEKDAY = Field("day-of-week", 0, 7, WEEKDAYS)
FIELDS = (MINUTE, HOUR, DAY, MONTH, WEEKDAY)


@dataclass(frozen=True)
class Values:
    """The values of one field. ``starred`` if it starts with ``*``, ``last`` if it has an ``L``."""

    field: Field
    items: tuple[range, ...]
    starred: bool
    last: bool

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """The numbers in ascending order, with Sunday as 0."""
        every = {number for item in self.items for number in item}
        return tuple(sorted({n % 7 for n in every} if self.field is WEEKDAY else every))

    @property
    def full(self) -> bool:
        """Whether the field excludes nothing."""
        return len(self.numbers) == self.field.size


@dataclass(frozen=True)
class Fields:
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
        longest = max(DAYS_IN_MONTH[month] for month in self.month.numbers)
        return self.day.last or min(self.day.numbers) <= longest


@lru_cache(maxsize=1024)
def read(expression: str) -> Fields:
    """Parse an expression. Raise InvalidSchedule with the reason."""
    words = MACROS.get(expression.lower(), expression).split()
    if expression.startswith("@") and len(words) == 1:
        raise unknown_macro(expression)
    if len(words) != len(FIELDS):
        more = "; seconds and years are not supported" if len(words) in {6, 7} else ""
        raise InvalidSchedule(
            "A cron expression has five fields (minute hour day-of-month month day-of-week), "
            f"this has {len(words)}{more}: {quoted(expression)}."
        )
    fields = Fields(
        *(read_field(field, word.upper()) for field, word in zip(FIELDS, words, strict=True))
    )
    if not (fields.day_comes or fields.either_day):
        raise InvalidSchedule(
            f"The day-of-month field is never reached: no month in {quoted(words[3])} "
            f"has a day {quoted(words[2])}."
        )
    return fields


def unknown_macro(expression: str) -> InvalidSchedule:
    if expression.lower() == "@reboot":
        return InvalidSchedule("'@reboot' is not a time: call the function when a process starts.")
    return InvalidSchedule(f"{quoted(expression)} is not known; known are {', '.join(MACROS)}.")


def read_field(field: Field, text: str) -> Values:
    items = text.split(",")
    last = field is DAY and "L" in items
    return Values(
        field=field,
        items=tuple(read_item(field, item) for item in items if not (last and item == "L")),
        starred=text.startswith("*"),
        last=last,
    )


def read_item(field: Field, item: str) -> range:
    for pattern, reason in UNSUPPORTED:
        if re.fullmatch(pattern, item):
            raise field.refusal(reason, item)
    match = ITEM.fullmatch(item)
    if match is None:
        raise field.refusal("write *, a number, a range a-b, or a step */n or a-b/n", item)
    if match["star"]:
        # Not up to ``field.high``: with 7, Sunday would be there twice.
        low, high = field.low, field.low + field.size - 1
    else:
        low = read_number(field, match["low"], item)
        high = low if match["high"] is None else read_number(field, match["high"], item)
        # In MON-SUN, Sunday is the last day of the week; in SUN-TUE it is the first.
        if match["high"] == "SUN" and low > 0:
            high = 7
    if match["step"] and not (match["star"] or match["high"]):
        end = field.low + field.size - 1
        raise field.refusal(f"write {match['low']}-{end}/{match['step']}", item)
    if low > high:
        raise field.refusal("the range runs backwards, write two ranges with a comma", item)
    return range(low, high + 1, read_step(field, match["step"] or "1", item))


def read_number(field: Field, word: str, item: str) -> int:
    if word in field.words:
        return field.words.index(word) + field.low
    if not word.isdigit():
        words = f" or a name such as {field.words[1]}" if field.words else ""
        raise field.refusal(f"{quoted(word)} is not a number{words}", item)
    if not field.low <= int(word) <= field.high:
        raise field.refusal(f"its numbers go from {field.low} to {field.high}", item)
    return int(word)


def read_step(field: Field, word: str, item: str) -> int:
    if not word.isdigit():
        raise field.refusal(f"the step {quoted(word)} is not a number", item)
    if not 1 <= int(word) <= field.size:
        raise field.refusal(f"a step goes from 1 to {field.size}", item)
    return int(word)
