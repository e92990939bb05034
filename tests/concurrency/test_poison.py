"""A run that ends its worker each time: it fails, and what runs next to it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scheduled_tasks.models import Execution
from tests.concurrency.runs import fresh, make_task_of, queue_a_run, wait_for_lines
from tests.support.processes import manage, options, running, wait_until
from tests.support.supervisor import supervised

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]

#: A culprit has failed after six leases and six starts of a worker, on a slow machine too.
CULPRIT_SECONDS = 180
QUICK = {"LEASE": 1.2, "HEARTBEAT_INTERVAL": 0.3}
POISON = "kill_container"
long = pytest.mark.long


def poison_payload(tmp_path: Path, **payload: Any) -> dict[str, Any]:
    return {"path": str(tmp_path / "begun"), "seconds": 0.5, **payload}


def queue_innocents(number: int, **policies: Any) -> list[Execution]:
    return [
        queue_a_run("nap", payload={"seconds": 1}, name=f"innocent-{each}", **policies)
        for each in range(number)
    ]


def wait_for_ends(*executions: Execution) -> None:
    wait_until(lambda: all(fresh(each).finished for each in executions), within=CULPRIT_SECONDS)


def check_innocents(innocents: list[Execution]) -> None:
    assert [fresh(each).status for each in innocents] == ["success"] * len(innocents)
    assert {each.losses for each in innocents} == {0}
    # Only the first two kills may hit them, while nothing tells them from the culprit.
    assert max(each.attempt for each in innocents) <= 3


def check_culprit(poison: Execution, *, max_losses: int) -> None:
    """Check that it failed after two losses that cost nothing, and one more than it may cost."""
    assert (fresh(poison).status, poison.error_category) == ("failed", "lost")
    assert (poison.losses, poison.attempt) == (max_losses + 1, max_losses + 3)


@pytest.mark.parametrize(
    ("executor", "workers", "number", "max_losses"),
    [
        pytest.param("process", 1, 2, 0, id="process", marks=long),
        pytest.param("process", 1, 20, 3, id="process at length", marks=long),
        pytest.param("process", 2, 20, 3, id="two workers", marks=long),
        pytest.param("thread", 1, 20, 3, id="thread", marks=long),
    ],
)
def test_a_killer_fails_and_its_neighbours_succeed(
    executor: str, workers: int, number: int, max_losses: int, tmp_path: Path
) -> None:
    innocents = queue_innocents(number)
    poison = queue_a_run(
        POISON, payload=poison_payload(tmp_path), priority=1, max_losses=max_losses
    )
    given = options(**QUICK, EXECUTOR=executor)
    with supervised(tmp_path / "log", count=workers, TEST_OPTIONS=given):
        wait_for_ends(poison, *innocents)
    check_innocents(innocents)
    check_culprit(poison, max_losses=max_losses)
    assert "It runs apart next time." in (tmp_path / "log").read_text()


@pytest.mark.long
def test_a_killer_of_fork_servers_fails_alone(tmp_path: Path) -> None:
    innocents = queue_innocents(2)
    poison = queue_a_run(POISON, payload=poison_payload(tmp_path, server_only=True), priority=1)
    with running() as worker:
        wait_for_ends(poison, *innocents)
        assert worker.poll() is None
    check_innocents(innocents)
    check_culprit(poison, max_losses=3)


@long
def test_a_scheduled_killer_hits_neighbours_once(tmp_path: Path) -> None:
    payload = poison_payload(tmp_path)
    task = make_task_of(POISON, payload, schedule="every 2 seconds", priority=1, max_losses=0)
    innocents = queue_innocents(2)
    given = options(**QUICK)
    with supervised(tmp_path / "log", TEST_OPTIONS=given):
        wait_for_ends(*innocents)
        failed = Execution.objects.filter(task=task, status="failed")
        wait_until(lambda: failed.count() >= 2, within=CULPRIT_SECONDS)
        innocents += queue_innocents_of_other_tasks()
        wait_until(lambda: failed.count() >= 3, within=CULPRIT_SECONDS)
        wait_for_ends(*innocents)
    check_innocents(innocents)
    # Every slot after the first begins as a suspect, and is charged at once.
    assert set(failed.order_by("pk").values_list("attempt", flat=True)[1:]) == {1}


def queue_innocents_of_other_tasks() -> list[Execution]:
    return [queue_a_run("nap", payload={"seconds": 1}, name=f"later-{each}") for each in range(2)]


def test_a_killed_runtask_makes_a_suspect(tmp_path: Path) -> None:
    path = tmp_path / "begun"
    task = make_task_of("stay_at_first", {"path": str(path)})
    command = manage("runtask", task.name, TEST_OPTIONS=options(**QUICK))
    try:
        wait_for_lines(path, 1)
    finally:
        command.kill()
        command.communicate()
    with running(TEST_OPTIONS=options(**QUICK)):
        execution = Execution.objects.get()
        wait_for_ends(execution)
    assert (execution.status, execution.attempt, execution.losses) == ("success", 2, 0)
    assert execution.attempts.get().outcome == "lost"
