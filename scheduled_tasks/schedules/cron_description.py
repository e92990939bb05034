"""Describes a cron expression in English, with cron-descriptor."""

from __future__ import annotations

from collections.abc import Iterable

from cron_descriptor import ExpressionDescriptor, Options

from scheduled_tasks.schedules.cron_grammar import WEEKDAY, Fields, Values


def describe_fields(fields: Fields) -> str:
    """Return one sentence without a full stop, with 24-hour times."""
    minute, hour, month = map(shape, (fields.minute, fields.hour, fields.month))
    day, weekday = day_shapes(fields)
    # Without a locale the descriptor uses the system's, and warns if there is none.
    options = Options(use_24hour_time_format=True, locale_code="en_US")
    descriptor = ExpressionDescriptor(f"{minute} {hour} {day} {month} {weekday}", options)
    description: str = descriptor.get_description()
    if not fields.either_day:
        # The descriptor only knows day fields that are ORed.
        description = description.replace(", or on ", ", but only on ")
    return description.replace("and L of", "and the last of")


def day_shapes(fields: Fields) -> tuple[str, str]:
    if fields.either_day and (fields.day.full or fields.weekday.full):
        return "*", "*"
    day = shape(fields.day) if fields.day_comes else "*"
    weekday = shape(fields.weekday)
    if "*" not in {day, weekday}:
        # The descriptor does not say how a range combines with the other day field.
        weekday = listed(fields.weekday.numbers)
    return day, weekday


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
