"""Several real scheduler processes on one database: every slot exactly once.

The long form::

    REPLICA_SECONDS=600 python -m tests -m replicas
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.db.models import F
from django.utils import timezone

from scheduled_tasks.models import Execution, Task, TaskState
from tests.support.lengths import only_long, short_and_long
from tests.support.processes import LONG, schedulers, wait_until

pytestmark = [pytest.mark.replicas, pytest.mark.django_db(transaction=True)]

SECOND = timedelta(seconds=1)
seconds = pytest.mark.parametrize("seconds", short_and_long("REPLICA_SECONDS", short=3, long=45))
#: Hundreds of runs a second are more than this machine can fork.
THREADS = {"TEST_OPTIONS": json.dumps({"EXECUTOR": "thread"})}
#: One worker alone cannot take at once what is due each second.
FEW_PLACES = {"TEST_OPTIONS": json.dumps({"CONCURRENCY": 4})}


@seconds
def test_every_slot_runs_exactly_once(tmp_path: Path, seconds: int) -> None:
    """SQLite has one writer at a time, so it is given less to do."""
    tasks, replicas = (20, 2) if connection.vendor == "sqlite" else (200, 3)
    marks = tmp_path / "marks"
    assert_every_slot_runs_once(seconds, tasks=tasks, replicas=replicas, marks=marks, **THREADS)


@pytest.mark.parametrize("seconds", only_long("REPLICA_SECONDS", long=45))
def test_the_unique_slot_alone_is_guard_enough(tmp_path: Path, seconds: int) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("It takes PostgreSQL's row locks away; SQLite has none to begin with.")
    engine = {"TEST_DATABASE_ENGINE": "tests.support.unlocked_postgresql"}
    marks = tmp_path / "marks"
    assert_every_slot_runs_once(seconds, tasks=200, replicas=3, marks=marks, **engine, **THREADS)


@pytest.mark.any_database
@seconds
def test_every_slot_runs_exactly_once_in_processes_too(tmp_path: Path, seconds: int) -> None:
    assert_every_slot_runs_once(
        seconds, tasks=8, replicas=2, marks=tmp_path / "marks", **FEW_PLACES
    )


def assert_every_slot_runs_once(
    seconds: int, *, tasks: int, replicas: int, marks: Path, **environment: str
) -> None:
    first_slots = make_tasks_due_every_second(tasks)
    since = timezone.now()
    with schedulers(replicas, "--no-sync", MARK_FILE=str(marks), **environment):
        wait_until(
            lambda: slots_fired_until() > since + seconds * SECOND and len(workers()) > 1,
            within=seconds + 2 * LONG,
        )
    until = slots_fired_until()
    assert_no_slot_is_lost_or_double(first_slots, until)
    assert_each_ran_once_and_is_recorded(marks)


def make_tasks_due_every_second(count: int) -> dict[int, datetime]:
    """Make the tasks and return the first slot of each."""
    for number in range(count):
        Task(
            name=f"every-second-{number}",
            handler="jobs.mark",
            schedule="every 1 second",
            misfire_policy=Task.MisfirePolicy.ALL,
            overlap_policy=Task.OverlapPolicy.ALLOW,
        ).save()
    return dict(TaskState.objects.values_list("task_id", "next_run_at"))


def slots_fired_until() -> datetime:
    """Return the first slot that some task has not fired yet."""
    return min(TaskState.objects.values_list("next_run_at", flat=True))


def assert_no_slot_is_lost_or_double(first_slots: dict[int, datetime], until: datetime) -> None:
    for task_id, first in first_slots.items():
        slots = Execution.objects.filter(task=task_id, slot__lt=until).order_by("slot")
        seconds = int((until - first) / SECOND)
        expected = [first + k * SECOND for k in range(seconds)]
        assert list(slots.values_list("slot", flat=True)) == expected


def assert_each_ran_once_and_is_recorded(marks: Path) -> None:
    """Compare what is on record with what the handlers themselves wrote down."""
    ran = Counter(line.split()[0] for line in marks.read_text().splitlines())
    recorded = Execution.objects.exclude(status=Execution.Status.QUEUED)
    assert set(ran.values()) == {1}
    assert set(ran) == {str(pk) for pk in recorded.values_list("pk", flat=True)}
    assert set(recorded.values_list("status", "attempt")) == {("success", 1)}
    assert not recorded.filter(started_at__lt=F("slot")).exists(), "it began before its slot"


def workers() -> set[str]:
    """Return who has run anything."""
    return set(Execution.objects.order_by().values_list("worker", flat=True).distinct()) - {""}
