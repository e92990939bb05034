"""Reads the five fields of a cron expression. Everything else is refused with a reason."""

from __future__ import annotations

import re
from functools import lru_cache

from scheduled_tasks.exceptions import InvalidSchedule
from scheduled_tasks.schedules.cron_expansion import expand
from scheduled_tasks.schedules.cron_fields import (
    DAY,
    FIELDS,
    WEEKDAY,
    Field,
    Fields,
    NthWeekday,
    Values,
)
from scheduled_tasks.schedules.cron_matching import Timetable
from scheduled_tasks.schedules.cron_refusals import (
    backward_refusal,
    empty_refusal,
    is_a_form_of_others,
    item_refusal,
    number_refusal,
    start_refusal,
    step_refusal,
    with_short_names,
)
from scheduled_tasks.schedules.cron_text import MACROS, macro_refusal, words_refusal
from scheduled_tasks.schedules.text import quoted

ITEM = re.compile(r"(?:(?P<star>\*)|(?P<low>\w+)(?:-(?P<high>\w+))?)(?:/(?P<step>\w+))?", re.ASCII)
NTH_WEEKDAY = re.compile(r"(?P<weekday>[0-7]|[A-Z]{3})(?:#(?P<nth>[1-5])|L)", re.ASCII)


@lru_cache(maxsize=1024)
def read(expression: str) -> Timetable:
    """Read an expression. Raise InvalidSchedule with the reason."""
    words = MACROS.get(expression.lower(), expression).split()
    if len(words) != len(FIELDS):
        if expression.startswith("@") and len(words) == 1:
            raise macro_refusal(expression)
        raise words_refusal(words, refusal_of)
    timetable = Timetable(Fields(*map(read_field, FIELDS, map(str.upper, words))))
    if not timetable.ever_matches:
        raise InvalidSchedule(never_reached(timetable.fields, words))
    return timetable


def refusal_of(expression: str) -> str:
    """Return why an expression that an error is about to propose cannot be read, "" if it can."""
    try:
        read(expression)
    except InvalidSchedule as error:
        return str(error)
    return ""


def never_reached(fields: Fields, words: list[str]) -> str:
    day, month, weekday = map(quoted, words[2:])
    if fields.weekday.nth_weekdays:
        return (
            f"The day fields are never reached: both must match, and no {weekday} of a month in "
            f"{month} is a day {day}."
        )
    return f"The day-of-month field is never reached: no month in {month} has a day {day}."


# Fields repeat among the schedules of a project far more often than whole expressions do.
@lru_cache(maxsize=2048)
def read_field(field: Field, text: str) -> Values:
    try:
        return read_items(field, text)
    except InvalidSchedule:
        plain = with_short_names(field, text)
        if plain == text:
            raise
    read_field(field, plain)  # what else is wrong with it comes first
    raise field.refusal(f"write {plain}", text)


def read_items(field: Field, text: str) -> Values:
    ranges: list[range] = []
    numbers: set[int] = set()
    nth_weekdays: list[NthWeekday] = []
    last = False
    for item in text.split(","):
        if field is DAY and item == "L":
            last = True
        elif field is WEEKDAY and (match := NTH_WEEKDAY.fullmatch(item)):
            weekday = read_number(field, match["weekday"], item) % 7
            nth_weekdays.append(NthWeekday(weekday, int(match["nth"] or 0)))
        elif item:
            found = read_range(field, item)
            ranges.append(found)
            # To croniter, a range of one number, as 5-5, is the whole field.
            numbers.update(expand(field, item if len(found) > 1 else str(found[0])))
        else:
            if rest := ",".join(filter(None, text.split(","))):
                read_field(field, rest)  # what else is wrong comes first
            raise empty_refusal(field, text, rest)
    return Values(
        field=field,
        items=tuple(ranges),
        numbers=tuple(sorted(numbers)),
        starred=text.startswith("*"),
        last=last,
        nth_weekdays=tuple(dict.fromkeys(nth_weekdays)),
    )


def read_range(field: Field, item: str) -> range:
    match = ITEM.fullmatch(item)
    if match is None:
        raise item_refusal(field, item)
    star, low, high, step_word = match.groups()
    if star:
        return range(field.low, field.top + 1, read_step(field, step_word, item))
    first = last = read_number(field, low, item)
    if high:
        # In MON-SUN, Sunday is the last day of the week; in SUN-TUE it is the first.
        last = 7 if high == "SUN" and first > 0 else read_number(field, high, item)
    step = read_step(field, step_word, item)
    if step_word and not high:
        raise start_refusal(field, low, step, item)
    if first > last:
        raise backward_refusal(field, low, high, step, item)
    return range(first, last + 1, step)


def read_number(field: Field, word: str, item: str) -> int:
    number = field.numbers.get(word)
    if number is not None:
        return number
    if is_a_form_of_others(word):
        raise item_refusal(field, item)
    if word.isdigit() and field.low <= int(word) <= field.high:
        return int(word)
    raise number_refusal(field, word, item)


def read_step(field: Field, word: str | None, item: str) -> int:
    if word is None:
        return 1
    if not (word.isdigit() and 1 <= int(word) <= field.size):
        raise step_refusal(field, word, item)
    return int(word)
