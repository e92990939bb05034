"""Policies of a task that is run manually."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.utils import timezone

from scheduled_tasks import register_task, run_task_now, scheduled_task
from scheduled_tasks.lifecycle.pausing import begin_pause
from scheduled_tasks.models import Attempt, Execution, Worker
from scheduled_tasks.worker.scheduler import Scheduler
from tests.commands.conftest import Command

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]


def test_a_run_by_hand_is_not_retried(command: Command) -> None:

    @scheduled_task(name="shop.fail")
    def fail() -> None:
        raise ValueError("no luck")

    register_task("bad", "shop.fail", retry=3)
    assert command("runtask", "bad").code == 1
    execution = Execution.objects.get()
    assert (execution.status, execution.attempt, execution.failures) == ("failed", 1, 1)
    assert not Attempt.objects.exists()


def test_a_running_task_without_overlap_is_refused(
    command: Command, scheduler: Callable[..., Scheduler]
) -> None:
    refused: list[str] = []

    @scheduled_task(name="shop.hold")
    def hold() -> None:
        ran = command("runtask", "weekly")
        assert (ran.code, ran.out) == (1, "")
        refused.append(ran.err)

    task = register_task("weekly", "shop.hold")
    run_task_now(task)
    scheduler().tick(timezone.now())
    [said] = refused
    execution = Execution.objects.get()
    assert said.startswith(
        f"The task 'weekly' is running already, as execution {execution.pk} on "
        f"{execution.worker_label}, and its executions may not overlap"
    )
    assert said.endswith("If its process has died, a worker takes it back 1 minute later (LEASE).")
    assert Execution.objects.get().status == "success"
    assert {worker.state for worker in Worker.objects.all()} <= {"running", "stopped"}


def test_a_task_that_may_overlap_runs_beside_itself(
    command: Command, scheduler: Callable[..., Scheduler]
) -> None:
    depth: list[int] = []

    @scheduled_task(name="shop.hold")
    def hold() -> None:
        depth.append(len(depth))
        if len(depth) == 1:
            assert command("runtask", "weekly").code == 0

    run_task_now(register_task("weekly", "shop.hold", overlap_policy="allow"))
    scheduler().tick(timezone.now())
    assert list(Execution.objects.values_list("status", flat=True)) == ["success", "success"]


def test_a_run_by_hand_ignores_a_pause(command: Command) -> None:
    @scheduled_task(name="shop.job")
    def job() -> None: ...

    register_task("weekly", "shop.job")
    begin_pause(timezone.now(), reason="Stocktaking")
    assert command("runtask", "weekly").code == 0
    assert Execution.objects.get().status == "success"
