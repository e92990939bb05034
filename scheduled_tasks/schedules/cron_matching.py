"""Finds the local times that match a cron expression, with croniter.

croniter receives only naive times and a plain form of the expression. It reads ``a-a`` as the
whole field, a list with as many values as the field as ``*``, and ``1,*`` as if it started with a
star. So the plain form consists of numbers, after a star item if the field starts with one.
"""

from __future__ import annotations

import copy
from datetime import datetime, timedelta
from functools import lru_cache

from croniter import croniter

from scheduled_tasks.schedules.cron_grammar import DAY, Fields, Values, read

#: After 400 years the calendar repeats, days of the week included.
CYCLE_YEARS = 400
CYCLE = timedelta(days=146_097)


def next_match(expression: str, after: datetime) -> datetime:
    """Return the first matching minute strictly after a local time given to the second.

    Raise OverflowError if it would lie beyond the year 9999.
    """
    # Far years are shifted by whole cycles: croniter's arithmetic fails near the year 9999.
    shift = (after.year - 2000) // CYCLE_YEARS * CYCLE
    # croniter objects hold a position. A copy for each call makes this thread-safe, and costs a
    # few per cent of parsing the expression again.
    matcher = copy.copy(compiled(expression))
    match: datetime = matcher.get_next(datetime, start_time=after - shift)
    return match + shift


@lru_cache(maxsize=1024)
def compiled(expression: str) -> croniter:
    return croniter(plain(read(expression)), 0.0, implement_cron_bug=True)


def plain(fields: Fields) -> str:
    # croniter would search fifty years for a day that does not exist, at each call.
    day = plain_field(fields.day) if fields.day_comes else "*"
    return " ".join(
        [
            plain_field(fields.minute),
            plain_field(fields.hour),
            day,
            plain_field(fields.month),
            plain_field(fields.weekday),
        ]
    )


def plain_field(values: Values) -> str:
    if values.starred and values.full:
        return "*"
    numbers = values.numbers
    if values.field is DAY and values.last:
        # Day 31 is always the last. croniter counts L as one more day: 1-29,31,L were a full field.
        numbers = tuple(number for number in numbers if number != DAY.high)
    star = [f"*/{values.items[0].step}"] if values.starred else []
    last = ["l"] if values.last else []
    return ",".join([*star, *map(str, numbers), *last])
