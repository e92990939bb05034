"""What was lost with its worker runs apart; docs/runs.md has the rules."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from scheduled_tasks import requeue_execution, run_task_now
from scheduled_tasks.lifecycle import claiming, ending, firing, recording, suspecting
from scheduled_tasks.lifecycle.suspecting import Suspects
from scheduled_tasks.models import Execution, Task, Worker
from tests.support.attempts import NOTHING, begin, loss, make_worker, outcome

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

SECOND = timedelta(seconds=1)
Make = Callable[..., Task]


@pytest.fixture
def rows(make_task: Make, now: datetime) -> list[Execution]:
    """Return queued executions of three tasks."""
    for name in ("one", "two", "three"):
        make_task(name, NOTHING)
    return [run_task_now(name, now=now) for name in ("one", "two", "three")]


def claim_all(
    worker: Worker, now: datetime, suspects: Suspects, together: int = 1
) -> claiming.Claimed:
    rules = {"suspects": suspects, "together": together}
    return claiming.claim(worker, now, limit=10, handlers=[NOTHING], **rules)


def lose_all(worker: Worker, now: datetime) -> None:
    """Let a worker claim everything, and be lost with it."""
    claim_all(worker, now, Suspects.LEAVE)
    lose(worker, now)


def lose_all_twice(worker: Worker, now: datetime) -> None:
    """Lose all again, now that they are suspects: from here on, each runs alone."""
    lose_all(worker, now)
    for row in claim_all(worker, now, Suspects.ALONE, together=9).rows:
        recording.record_begin((row.pk, row.attempt))
    lose(worker, now)


def lose(worker: Worker, now: datetime) -> None:
    ending.give_back([str(worker.pk)], now, reason="gone", charged=True)


def states(*names: str) -> set[tuple[str, int, int | None]]:
    found = Execution.objects.filter(task__name__in=names) if names else Execution.objects.all()
    return set(found.values_list("status", "losses", "probation_seconds"))


def test_a_loss_in_company_costs_nothing(
    rows: list[Execution], worker: Worker, now: datetime
) -> None:
    lose_all(worker, now)
    assert states() == {("queued", 0, 30)}
    assert set(Task.objects.values_list("state__probation_seconds", flat=True)) == {30}


def test_suspects_are_claimed_together(
    rows: list[Execution], worker: Worker, now: datetime
) -> None:
    lose_all(worker, now)
    claimed = claim_all(worker, now, Suspects.ALONE, together=2).rows
    assert [row.pk for row in claimed] == [row.pk for row in rows[:2]]
    assert {(row.alone_on, row.as_run().begin_awaited) for row in claimed} == {("", True)}


def test_what_was_lost_again_is_claimed_alone(
    rows: list[Execution], worker: Worker, now: datetime
) -> None:
    lose_all_twice(worker, now)
    done = claim_all(worker, now, Suspects.ALONE, together=9)
    assert [row.pk for row in done.rows] == [rows[0].pk]
    assert done.rows[0].alone_on == worker.host
    assert done.rows[0].as_run().begin_awaited


def test_one_suspect_of_a_host_runs_alone(
    rows: list[Execution], worker: Worker, now: datetime
) -> None:
    lose_all_twice(worker, now)
    [first] = claim_all(worker, now, Suspects.ALONE).rows
    done = claim_all(make_worker("second", now), now, Suspects.ALONE)
    assert (done.rows, done.left) == ([], True)
    suspecting.end_probation((first.pk, first.attempt))
    assert len(claim_all(make_worker("third", now), now, Suspects.ALONE).rows) == 1


def test_two_hosts_run_a_suspect_each(rows: list[Execution], worker: Worker, now: datetime) -> None:
    lose_all_twice(worker, now)
    other = make_worker("other", now)
    other.host = "elsewhere"
    claimed = [claim_all(each, now, Suspects.ALONE).rows for each in (worker, other)]
    assert [len(each) for each in claimed] == [1, 1]


def test_what_has_not_begun_is_never_charged(
    rows: list[Execution], worker: Worker, now: datetime
) -> None:
    Execution.objects.exclude(pk=rows[0].pk).delete()
    lose_all(worker, now)
    for _ in range(9):
        claim_all(worker, now, Suspects.ALONE)
        lose(worker, now)
    assert states() == {("queued", 0, 30)}
    outcomes = rows[0].attempts.order_by("number").values_list("outcome", flat=True)
    assert list(outcomes) == ["lost", *["given_back"] * 9]


def test_a_loss_alone_is_charged(rows: list[Execution], worker: Worker, now: datetime) -> None:
    Execution.objects.exclude(pk=rows[0].pk).delete()
    lose_all_twice(worker, now)
    found = [*states()]
    for _ in range(4):
        begin(worker, now)
        lose(worker, now)
        found.append(*states())
    assert found == [
        ("queued", 0, 120),
        ("queued", 1, 480),
        ("queued", 2, 480),
        ("queued", 3, 480),
        ("failed", 4, 480),
    ]


def test_a_loss_after_the_probation_costs_nothing(
    rows: list[Execution], worker: Worker, now: datetime
) -> None:
    Execution.objects.exclude(pk=rows[0].pk).delete()
    lose_all(worker, now)
    found = []
    for _ in range(6):
        row = begin(worker, now)
        suspecting.end_probation((row.pk, row.attempt))
        ending.end([loss(row)], worker, now)
        found.append(*states())
    # So that something ends even if it is never alone, the longest probation is the last.
    assert [losses for _, losses, _ in found] == [0, 0, 1, 2, 3, 4]
    assert found[-1][0] == "failed"


def test_a_second_loss_costs_nothing_either(
    rows: list[Execution], worker: Worker, now: datetime
) -> None:
    lose_all(worker, now)
    for row in claim_all(worker, now, Suspects.ALONE, together=2).rows:
        recording.record_begin((row.pk, row.attempt))
    lose(worker, now)
    assert states("one", "two") == {("queued", 0, 120)}
    assert states("three") == {("queued", 0, 30)}


def test_what_ended_a_worker_comes_last(
    rows: list[Execution], worker: Worker, now: datetime
) -> None:
    lose_all_twice(worker, now)
    for _ in range(2):
        [row] = claim_all(worker, now, Suspects.ALONE).rows
        assert row.pk == rows[0].pk or row.losses == 0
        recording.record_begin((row.pk, row.attempt))
        ending.end([loss(row)], worker, now)
    [row] = claim_all(worker, now, Suspects.ALONE).rows
    assert row.pk == rows[2].pk


def test_a_busy_worker_awaits_or_leaves_suspects(
    rows: list[Execution], worker: Worker, now: datetime, make_task: Make
) -> None:
    lose_all(worker, now)
    make_task("four", NOTHING)
    fresh = run_task_now("four", now=now)
    waits = claim_all(worker, now, Suspects.AWAIT)
    assert (waits.rows, waits.awaited) == ([], rows[0])
    leaves = claim_all(worker, now, Suspects.LEAVE)
    assert ([row.pk for row in leaves.rows], leaves.left) == ([fresh.pk], True)
    [beside] = claim_all(worker, now, Suspects.IN_COMPANY).rows
    assert (beside.pk, beside.alone_on) == (rows[0].pk, "")


def test_many_suspects_do_not_hide_other_work(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    for number in range(30):
        make_task(f"task-{number}", NOTHING)
        run_task_now(f"task-{number}", now=now)
    Execution.objects.update(probation_seconds=30)
    make_task("fresh", NOTHING)
    fresh = run_task_now("fresh", now=now)
    assert [row.pk for row in claim_all(worker, now, Suspects.LEAVE).rows] == [fresh.pk]


def test_many_suspects_do_not_stop_other_workers(
    rows: list[Execution], make_task: Make, worker: Worker, now: datetime
) -> None:
    """Not even the workers of a host on which one runs alone."""
    lose_all_twice(worker, now)
    claim_all(worker, now, Suspects.ALONE)
    for number in range(60):
        make_task(f"task-{number}", NOTHING)
        run_task_now(f"task-{number}", now=now)
    Execution.objects.queued().update(probation_seconds=120)
    make_task("fresh", NOTHING)
    fresh = run_task_now("fresh", now=now)
    claimed = claim_all(make_worker("second", now), now, Suspects.ALONE)
    assert ([row.pk for row in claimed.rows], claimed.left) == ([fresh.pk], True)


def test_suspects_behind_a_backlog_are_known(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    make_task("busy", NOTHING)
    for _ in range(30):
        run_task_now("busy", now=now)
    claim_all(worker, now, Suspects.LEAVE)
    assert not claim_all(worker, now, Suspects.LEAVE).left
    task = make_task("suspect", NOTHING)
    task.state.probation_seconds = 30
    task.state.save()
    run_task_now("suspect", now=now)
    assert claim_all(worker, now, Suspects.LEAVE).left


def test_new_executions_of_suspects_are_suspects(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    make_task("one", NOTHING, "every 1 minute", overlap_policy="buffer_all")
    waiting = [run_task_now("one", now=now) for _ in range(2)]
    claim_all(worker, now, Suspects.LEAVE)
    lose(worker, now)
    firing.fire(now + 60 * SECOND, limit=1)
    run_task_now("one", now=now)
    assert states() == {("queued", 0, 30)}
    [lost] = claim_all(worker, now, Suspects.ALONE).rows
    assert lost.pk == waiting[0].pk
    ending.end([outcome(lost, now)], worker, now)
    assert states() == {("success", 0, None), ("queued", 0, None)}
    assert Task.objects.get().state.probation_seconds is None


@pytest.mark.parametrize(
    ("category", "probation"), [("logic", None), ("memory", 30), ("crash", 30)]
)
def test_only_an_end_of_its_own_acquits(
    category: str, probation: int | None, make_task: Make, worker: Worker, now: datetime
) -> None:
    make_task("one", NOTHING)
    run_task_now("one", now=now)
    lose_all(worker, now)
    row = begin(worker, now)
    ending.end([outcome(row, now, "failed", error_category=category)], worker, now)
    assert states() == {("failed", 0, probation)}
    assert Task.objects.get().state.probation_seconds == probation


def test_a_requeued_culprit_is_a_suspect(make_task: Make, worker: Worker, now: datetime) -> None:
    make_task("one", NOTHING, max_losses=0)
    execution = run_task_now("one", now=now)
    lose_all_twice(worker, now)
    begin(worker, now)
    lose(worker, now)
    again = requeue_execution(execution.pk)
    again.refresh_from_db()
    assert again.probation_seconds == 480


@pytest.mark.parametrize("begun", [True, False])
def test_started_once_means_once_begun(
    make_task: Make, worker: Worker, now: datetime, *, begun: bool
) -> None:
    make_task("one", NOTHING, on_lost="fail")
    run_task_now("one", now=now)
    [row] = claim_all(worker, now, Suspects.LEAVE).rows
    if begun:
        recording.record_begin((row.pk, row.attempt))
    lose(worker, now)
    assert states() == {("failed", 1, 30) if begun else ("queued", 0, None)}


def test_on_lost_changed_meanwhile_repeats_nothing(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    make_task("one", NOTHING)
    run_task_now("one", now=now)
    claim_all(worker, now, Suspects.LEAVE)
    Task.objects.update(on_lost="fail")
    lose(worker, now)
    assert states() == {("failed", 1, 30)}
