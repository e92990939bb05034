"""What holds for all invariants."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Task, TaskState
from scheduled_tasks.monitoring.health import invariants
from scheduled_tasks.monitoring.health.violations import Violation, still_found
from tests.monitoring.fleet import DAY, HOUR, make_scheduler
from tests.monitoring.invariants.scene import found, queue
from tests.support.attempts import NOTHING, claim, make_worker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

Make = Callable[..., Task]


def test_only_what_lasts_is_still_found() -> None:
    def violation(about: str, message: str = "") -> Violation:
        return Violation(invariants.Invariant.NOT_FIRED, about, message)

    after = [violation("2", "Later."), violation("3")]
    assert still_found([violation("1"), violation("2")], after) == [violation("2", "Later.")]


def test_without_workers_nothing_is_said_of_them(
    task: Task, make_task: Make, now: datetime
) -> None:
    """That none is alive says it all."""
    queue(make_task("by-hand", NOTHING), now)
    queue(task, now)
    claim(make_worker("gone", now), now)
    assert found(now + DAY) == []


def test_queries_and_findings_are_bounded(
    make_task: Make,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(invariants, "MAX_FOUND", 2)
    make_scheduler(now + HOUR, queues=["default"])
    for number in range(3):
        make_task(f"late-{number}", NOTHING, "every 5 minutes")
        stopped = make_task(f"stopped-{number}", NOTHING, "every 5 minutes")
        TaskState.objects.filter(pk=stopped.pk).update(next_run_at=None)
        queue(make_task(f"by-hand-{number}", NOTHING), now, queue=f"q{number}")
    with CaptureQueriesContext(connection) as captured:
        codes = [code for code, _ in found(now + HOUR)]
    # SQLite answers what constraints there are by dozens of others.
    queries = [query for query in captured if 'FROM "scheduled_tasks_' in query["sql"]]
    assert len(queries) < 15
    assert codes == ["not_fired"] * 2 + ["no_next_run"] * 2 + ["unclaimable"] * 2


def test_a_registry_is_not_needed(task: Task, slot: datetime, registry: HandlerRegistry) -> None:
    """The web may know other handlers than the workers do; their rows count."""
    registry.handlers.clear()
    make_scheduler(slot + HOUR)
    assert found(slot + HOUR) == [("not_fired", task.name)]
