"""Expands the items of cron fields into numbers, with croniter."""

from __future__ import annotations

from functools import lru_cache

from croniter import croniter

from scheduled_tasks.schedules.cron_fields import FIELDS, Field


# Croniter takes 40 µs for the four other fields, and up to 300 µs for an item. A project has far
# fewer distinct items than expressions.
@lru_cache(maxsize=4096)
def expand(field: Field, item: str) -> tuple[int, ...]:
    """Return the numbers of an item that the grammar accepts, ascending, with Sunday as 0.

    Croniter is given one item at a time: it reads a list with ``*`` or ``L`` in it otherwise than
    its parts.
    """
    if item in field.numbers:
        return (field.low + (field.numbers[item] - field.low) % field.size,)
    position = FIELDS.index(field)
    words = ["*"] * len(FIELDS)
    words[position] = item
    fields, _ = croniter.expand(" ".join(words))
    numbers = fields[position]
    return tuple(range(field.low, field.top + 1) if numbers == ["*"] else numbers)
