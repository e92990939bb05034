"""Histories made by hand: a right one, and what it takes to make it wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.chaos.history import COVERED, Harm, History, Life, Row, Tried
from tests.chaos.journal import BEGUN, ENDED, KEPT, RETURNED, Line
from tests.chaos.plan import Planned

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def slot(number: int) -> datetime:
    """Return one of the slots of the task, which are ten seconds apart."""
    return NOON + number * 10 * SECOND


def at(seconds: float) -> float:
    """Return the moment so many seconds after noon, as the journal tells it."""
    return NOON.timestamp() + seconds


def line(what: str, execution: int, attempt: int = 1, value: Any = None, **more: Any) -> Line:
    """Return what an attempt wrote on worker a1."""
    fields = {"task": "t", "worker": "a1", "at": at(10), **more}
    return Line(what=what, execution=execution, attempt=attempt, value=value, **fields)


def row(number: int, status: str = "success", **fields: Any) -> Row:
    """Return the row of a slot, run by worker a1 in one attempt unless it was covered."""
    ran = {} if status in COVERED else {"attempt": 1, "worker": "a1"}
    common = {"task": "t", "slot": slot(number - 1), "finished_at": slot(number)}
    return Row(id=number, status=status, **{**common, **ran, **fields})


def tried(execution: int, number: int, outcome: str, **fields: Any) -> Tried:
    """Return an attempt on worker a1 that was followed by another."""
    fields = {"worker": "a1", "finished_at": slot(execution), **fields}
    return Tried(execution=execution, number=number, outcome=outcome, **fields)


def task(**policies: Any) -> Planned:
    """Return a task with three slots."""
    fields = {"handler": "quick", "executor": "process", "overlap": "skip", "max_retries": 1}
    window = {"every": 10, "starts_at": NOON, "ends_at": slot(3)}
    return Planned(name="t", **{**fields, **window, **policies})


def history(**changed: Any) -> History:
    """Return a right history, but for what is changed.

    The first slot's execution was lost with worker b1 and ran on a1, the others were covered.
    """
    right = {
        "tasks": {"t": task()},
        "rows": [
            row(1, attempt=2, losses=1),
            row(2, "skipped", reason="Another ran.", slot_until=slot(2), slots=2),
        ],
        "tried": [tried(1, 1, "lost", worker="b1")],
        "counts": {"t": 1},
        "states": {"a1": "stopped", "b1": "lost"},
        "journal": [
            line(BEGUN, 1, worker="b1"),
            line(KEPT, 1, value=3, worker="b1"),
            line(BEGUN, 1, attempt=2, value=3),
            line(ENDED, 1, attempt=2, value=RETURNED),
        ],
        "lives": {
            "a1": Life(label="a1", exit_code=0),
            "b1": Life(label="b1", exit_code=-9, harms=[Harm("killed", at(5))]),
        },
    }
    return History(**right | changed)


def with_first(changed: Row, **more: Any) -> History:
    """Return the right history with another row for the first slot."""
    return history(rows=[changed, *history().rows[1:]], **more)


def healthy(label: str = "b1", *harms: Harm, **ended: Any) -> dict[str, Life]:
    """Return lives of which one has seen only what is given, or nothing."""
    life = Life(label=label, harms=[*harms], **{"exit_code": 0, **ended})
    return {**history().lives, label: life}


def returned(*executions: int) -> list[Line]:
    """Return what executions wrote that went well."""
    return [
        one
        for number in executions
        for one in (line(BEGUN, number), line(ENDED, number, value=RETURNED))
    ]


THREE_RUNS = {"rows": [row(1), row(2), row(3)], "counts": {"t": 3}, "tried": []}
