"""Describes a cron expression in English, with cron-descriptor."""

from __future__ import annotations

from collections.abc import Iterable
from inspect import signature

from cron_descriptor import ExpressionDescriptor, Options

from scheduled_tasks.schedules.cron_fields import WEEKDAY, Fields, Values

DAY_NAMES = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
NTH = ("last", "first", "second", "third", "fourth", "fifth")


IN_ENGLISH = {"use_24hour_time_format": True, "locale_code": "en_US"}
# Release 1, which django-celery-beat needs, takes no arguments here. Release 2 takes the system's
# locale without them, and warns if there is none.
ARGUMENTS = IN_ENGLISH if "locale_code" in signature(Options).parameters else {}


def describe_fields(fields: Fields) -> str:
    """Return one sentence without a full stop, with 24-hour times."""
    day, weekday = restricting_days(fields)
    month = shape(fields.month)
    if weekday is None or (day is None and not weekday.nth_weekdays):
        shapes = ("*" if values is None else shape(values) for values in (day, weekday))
        return described(fields, next(shapes), month, next(shapes))
    # The descriptor knows a weekday of the month alone in its field, and its releases differ on
    # how the two day fields combine.
    time = described(fields, "*", "*", "*")
    days = f", on {joined(weekday_names(weekday))}"
    if day is not None:
        both = described(fields, shape(day), "*", "*").removeprefix(time)
        days = f"{both}{', or' if fields.either_day else ', but only'}{days.removeprefix(',')}"
    return f"{time}{days}{described(fields, '*', month, '*').removeprefix(time)}"


def restricting_days(fields: Fields) -> tuple[Values | None, Values | None]:
    """Return the two day fields, None for one that makes no difference."""
    if fields.either_day and (fields.day.full or fields.weekday.full):
        return None, None
    day = None if fields.day.full or not fields.day_comes else fields.day
    return day, None if fields.weekday.full else fields.weekday


def described(fields: Fields, day: str, month: str, weekday: str) -> str:
    """Return what the descriptor says about the times of an expression on days."""
    text = f"{shape(fields.minute)} {shape(fields.hour)} {day} {month} {weekday}"
    descriptor = ExpressionDescriptor(text, Options(**ARGUMENTS), **IN_ENGLISH)
    description: str = descriptor.get_description()
    if description.startswith("Between") and fields.minute.numbers == (0,):
        # Release 1 leaves the minute out, which reads like every minute.
        description = f"At 0 minutes past the hour, b{description[1:]}"
    return description.replace("and L of", "and the last of")


def weekday_names(weekdays: Values) -> list[str]:
    plain = [DAY_NAMES[number] for number in weekdays.numbers]
    nth = [f"the {NTH[each.nth]} {DAY_NAMES[each.weekday]}" for each in weekdays.nth_weekdays]
    return [*plain, *(f"{name} of the month" if name is nth[-1] else name for name in nth)]


def joined(names: list[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def shape(values: Values) -> str:
    """Return the simplest form with the same meaning, for the descriptor."""
    if values.full:
        return "*"
    last = ["L"] if values.last else []
    stepped = any(item.step > 1 for item in values.items)
    # The descriptor fails on a step within a list, and reads a step of weekdays as weeks.
    alone = len(values.items) == 1 and not last and values.field is not WEEKDAY
    if len(values.numbers) == 1 or (stepped and not alone):
        return listed([*values.numbers, *last])
    return listed([*(item_shape(item, values) for item in values.items), *last])


def item_shape(item: range, values: Values) -> str:
    if len(item) == 1:
        return str(item[0])
    if item.step == 1:
        return f"{item[0]}-{item[-1]}"
    return f"*/{item.step}" if values.starred else f"{item[0]}-{item.stop - 1}/{item.step}"


def listed(items: Iterable[object]) -> str:
    return ",".join(map(str, items))
