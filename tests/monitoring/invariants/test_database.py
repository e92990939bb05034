"""What a restored backup or a wrong clock breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from unittest.mock import patch

import pytest
from django.db import connection
from django.utils import timezone

from scheduled_tasks.models import Execution, Task
from scheduled_tasks.monitoring.health import invariants
from scheduled_tasks.monitoring.health.invariants import scan_invariants
from tests.monitoring.invariants.scene import found, queue

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

Make = Callable[..., Task]


# Two executions for a slot.

schema_editor = connection.schema_editor


@contextmanager
def without_unique_slots() -> Iterator[None]:
    [unique] = [
        constraint
        for constraint in Execution._meta.constraints
        if constraint.name == invariants.ONE_PER_SLOT
    ]
    others = [constraint for constraint in Execution._meta.constraints if constraint is not unique]
    # SQLite makes the table again, with the constraints of the model.
    with patch.object(Execution._meta, "constraints", others), schema_editor() as editor:
        editor.remove_constraint(Execution, unique)
    try:
        yield
    finally:
        Execution.objects.all().delete()
        with schema_editor() as editor:
            editor.add_constraint(Execution, unique)


@pytest.mark.django_db(transaction=True)
def test_a_missing_constraint_is_found(task: Task, slot: datetime) -> None:
    with without_unique_slots():
        [violation] = scan_invariants(slot)
        assert violation.message == (
            "The unique constraint scheduled_tasks_one_per_slot is missing: a slot may run twice."
        )
        for _ in range(2):
            queue(task, slot, "schedule", slot=slot)
        [violation] = scan_invariants(slot)
        assert violation.code == "slot_not_unique"
        assert violation.message.endswith("night has two executions for one slot.")
    assert found(slot) == []


# Clocks.


@pytest.mark.parametrize(
    ("seconds", "said"), [(-60, "1 minute"), (-3, "3 s"), (3, "3 s"), (60, "1 minute")]
)
def test_a_clock_that_differs_is_found(
    now: datetime, seconds: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: real() + timedelta(seconds=seconds))
    [violation] = scan_invariants(now)
    assert violation.code == "clock_differs"
    assert f"differs from the database's by {said}." in violation.message


def test_a_slow_query_is_no_difference(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    real, moments = timezone.now, iter([-60, 60])
    monkeypatch.setattr(timezone, "now", lambda: real() + timedelta(seconds=next(moments)))
    assert found(now) == []
