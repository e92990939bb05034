"""A rolling deploy of two replicas, from one release to the next, judged by chaos's checker.

Real workers with the code of two folders, a real `migrate`, tasks that are due every second: no
slot is missed, none runs twice, and no run is interrupted.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.utils import timezone

from scheduled_tasks.models import Execution, Task, TaskState
from scheduled_tasks.runtime.statuses import UNFINISHED
from scheduled_tasks.worker.scheduler import FIRE_LEAD
from tests.chaos.checker import violations
from tests.chaos.history import COVERED, History
from tests.releases.deployment import REPLICAS, SECOND, Deployment, deployment
from tests.support.processes import LONG, wait_until

pytestmark = [pytest.mark.long, pytest.mark.django_db(transaction=True)]

#: The tasks of the release after; none of their slots may be left out.
LASTING_TASKS = ("quick", "lasting", "added")


def migrate_first(now: Deployment) -> None:
    now.migrate("new")
    now.replace_workers()


def workers_first(now: Deployment) -> None:
    """Let the new workers write their declarations themselves, when they start."""
    now.replace_workers()
    now.migrate("new")


@pytest.mark.parametrize("deploy", [migrate_first, workers_first])
def test_a_rolling_deploy_misses_and_doubles_nothing(
    deploy: Callable[[Deployment], None], tmp_path: Path
) -> None:
    with deployment(tmp_path) as now:
        now.migrate("old")
        for number in range(REPLICAS):
            now.start(f"old-{number}")
        wait_until(lambda: now.has_begun("quick", by="old"), within=LONG)
        wait_until(lambda: Execution.objects.filter(task_name="removed").exists(), within=LONG)
        deploy(now)
        wait_until(lambda: now.has_begun("added", by="new"), within=LONG)
        end_the_tasks()
        for number in range(REPLICAS):
            now.stop(f"new-{number}")
        history = now.history()
    assert violations(history) == []
    assert_every_slot_ran_once(history)
    assert_what_was_removed_is_parked()


def end_the_tasks() -> None:
    """Let the tasks end in a moment, and wait for the last run."""
    ends_at = timezone.now() + 2 * SECOND
    for task in Task.objects.filter(name__in=LASTING_TASKS):
        task.ends_at = ends_at
        task.save()
    wait_until(
        lambda: not TaskState.objects.filter(next_run_at__isnull=False).exists(), within=LONG
    )
    wait_until(lambda: not Execution.objects.filter(status__in=UNFINISHED).exists(), within=LONG)


def assert_every_slot_ran_once(history: History) -> None:
    """Hold more than the checker: nothing was given back, and no slot was left out."""
    assert history.tried == []
    for row in history.rows:
        if row.task in LASTING_TASKS:
            assert (row.status, row.attempt, row.losses) == ("success", 1, 0), row
        else:
            assert row.status in ("success", *COVERED), row
    assert {life.exit_code for life in history.lives.values()} == {0}


def assert_what_was_removed_is_parked() -> None:
    state = TaskState.objects.get(task__name="removed")
    assert state.parked_at is not None
    assert state.next_run_at is None
    later = Execution.objects.filter(task_name="removed", slot__gt=state.parked_at + FIRE_LEAD)
    assert not later.exists()
