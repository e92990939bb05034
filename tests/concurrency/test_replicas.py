"""Several real scheduler processes on one database: every slot exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from scheduled_tasks.models import Execution, Task, TaskState
from tests.processes import schedulers, wait_until

pytestmark = [pytest.mark.replicas, pytest.mark.django_db(transaction=True)]

SECOND = timedelta(seconds=1)
MINUTE = timedelta(seconds=60)

postgresql_only = pytest.mark.skipif(
    "connection.vendor != 'postgresql'", reason="SQLite has a test of its own, with fewer tasks"
)
sqlite_only = pytest.mark.skipif(
    "connection.vendor != 'sqlite'", reason="PostgreSQL has a test of its own, with more tasks"
)


@postgresql_only
def test_three_schedulers_run_every_slot_of_200_tasks_once(tmp_path: Path) -> None:
    assert_every_slot_runs_once(tasks=200, replicas=3, marks=tmp_path / "marks")


@postgresql_only
def test_the_unique_slot_alone_is_guard_enough(tmp_path: Path) -> None:
    engine = {"TEST_DATABASE_ENGINE": "tests.unlocked_postgresql"}
    assert_every_slot_runs_once(tasks=200, replicas=3, marks=tmp_path / "marks", **engine)


@sqlite_only
def test_two_schedulers_share_a_sqlite_file(tmp_path: Path) -> None:
    assert_every_slot_runs_once(tasks=20, replicas=2, marks=tmp_path / "marks")


def assert_every_slot_runs_once(
    *, tasks: int, replicas: int, marks: Path, **environment: str
) -> None:
    make_tasks_due_every_second(tasks)
    since = timezone.now()
    with schedulers(replicas, MARK_FILE=str(marks), **environment):
        wait_until(lambda: slots_fired_until() > since + MINUTE, within=150)
    until = slots_fired_until()
    assert_no_slot_is_lost_or_double(until)
    assert_each_ran_once_and_is_recorded(marks)


def make_tasks_due_every_second(count: int) -> None:
    for number in range(count):
        Task(
            name=f"every-second-{number}",
            handler="jobs.mark",
            schedule="every 1 second",
            misfire_policy=Task.MisfirePolicy.ALL,
            overlap_policy=Task.OverlapPolicy.ALLOW,
        ).save()


def slots_fired_until() -> datetime:
    """Return the first slot that some task has not fired yet."""
    return min(TaskState.objects.values_list("next_run_at", flat=True))


def assert_no_slot_is_lost_or_double(until: datetime) -> None:
    for task in Task.objects.all():
        slots = list(
            Execution.objects.filter(task=task, slot__lt=until)
            .order_by("slot")
            .values_list("slot", flat=True)
        )
        assert slots == expected_slots(task.anchor, until)


def expected_slots(anchor: datetime | None, until: datetime) -> Sequence[datetime]:
    """Return the slots from the second after the anchor on, by arithmetic of our own."""
    assert anchor is not None
    return [anchor + k * SECOND for k in range(1, int((until - anchor) / SECOND))]


def assert_each_ran_once_and_is_recorded(marks: Path) -> None:
    """Compare what is on record with what the handlers themselves wrote down."""
    ran = Counter(line.split()[0] for line in marks.read_text().splitlines())
    recorded = Execution.objects.exclude(status=Execution.Status.QUEUED)
    assert set(ran.values()) == {1}
    assert set(ran) == {str(pk) for pk in recorded.values_list("pk", flat=True)}
    assert set(recorded.values_list("status", "attempt")) == {("success", 1)}
    assert len(set(recorded.values_list("worker", flat=True))) > 1, "one worker did it all"
    assert connection.vendor
