"""Reads the facts of entries, and leaves out what cannot be counted.

Entries come from ``recording``, perhaps from that of older or newer code, or from SQL by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import BigIntegerField

from scheduled_tasks.models.rollup import Rollup
from scheduled_tasks.models.rollup_entry import RollupEntry
from scheduled_tasks.monitoring.rollups.recording import Fact, TaskFact

#: The last hour that a date can have, that of the year 9999.
MAX_HOUR = 70_389_526
MAX_NAME_LENGTH: int = Rollup._meta.get_field("task_name").max_length or 0  # noqa: SLF001


def read_entries(entries: Iterable[RollupEntry]) -> tuple[list[TaskFact], list[str]]:
    """Return the facts of entries, and sentences about those that cannot be counted."""
    facts, problems = [], []
    for entry in entries:
        for task_id, name, values in parts(entry.facts):
            try:
                facts.append(task_fact(task_id, name, values))
            except (TypeError, ValueError) as error:
                where = f"rollup entry {entry.pk}, task {task_id!r} named {name!r}"
                problems.append(f"{where}, cannot be counted: {values!r}: {error}")
    return facts, problems


def parts(said: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Yield task, name and values of each fact; in place of values, what has another shape."""
    if not isinstance(said, dict):
        yield None, None, said
        return
    for task_id, of_task in said.items():
        match of_task:
            case {"name": name, "facts": list(facts)}:
                for values in facts:
                    yield task_id, name, values
            case _:
                yield task_id, None, of_task


def task_fact(task_id: Any, name: Any, values: Any) -> TaskFact:
    """Return a fact that can be counted. Raise TypeError or ValueError for one that cannot."""
    if not isinstance(values, list):
        raise TypeError("a fact is a list")
    # Newer code may have added columns at the end, and statuses.
    fact = Fact(*values[: len(Fact._fields)])
    if not isinstance(name, str) or len(name) > MAX_NAME_LENGTH:
        raise ValueError(f"a name is text of at most {MAX_NAME_LENGTH} characters")
    if not isinstance(fact.status, str):
        raise TypeError("a status is text")
    measured = [each for each in (fact.duration_ms, fact.lateness_ms) if each is not None]
    counts = (int(task_id), fact.hour, fact.slots, fact.retries, fact.processed, fact.errors)
    if not all(is_count(each) for each in (*counts, *measured)):
        raise ValueError("a number is missing, negative or too large")
    if fact.hour > MAX_HOUR:
        raise ValueError("its hour is too far in the future")
    return TaskFact(int(task_id), name, fact)


def is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= BigIntegerField.MAX_BIGINT
