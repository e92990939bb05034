"""Edits beside a scheduler at work, on two connections: the outcome is one, whoever is first."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from scheduled_tasks.lifecycle import claiming, ending, firing
from scheduled_tasks.models import Execution, Task, TaskState, Worker
from tests.concurrency.beside import elsewhere, somebody_waits_for_a_lock
from tests.support.attempts import NOTHING, outcome
from tests.support.processes import LONG, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("nothing")]

MINUTE = timedelta(minutes=1)
Do = Callable[[], Any]


@pytest.fixture
def task(make_task: Callable[..., Task]) -> Task:
    return make_task("one", NOTHING, "every 5 minutes")


def one_after_the_other(first: Do, second: Do) -> tuple[Any, Any]:
    """Do the second while the first has done all but commit; return what both returned.

    Where a database has no row locks, no second transaction begins before the first has ended.
    """
    if not connection.features.has_select_for_update:
        return first(), second()
    with elsewhere() as other:
        with transaction.atomic():
            done = first()
            waiting = other.submit(second)
            wait_until(lambda: waiting.done() or somebody_waits_for_a_lock(), within=LONG)
        return done, waiting.result(timeout=LONG)


def edit(task: Task, moment: datetime, **fields: Any) -> Do:
    def save() -> None:
        fresh = Task.objects.get(pk=task.pk)
        for name, value in fields.items():
            setattr(fresh, name, value)
        fresh.save(now=moment)

    return save


def fire(moment: datetime) -> Do:
    return lambda: firing.fire(moment, limit=10)


def claim(worker: Worker, moment: datetime) -> Callable[[], list[Execution]]:
    return lambda: claiming.claim(worker, moment, limit=10, handlers=[NOTHING]).rows


def end(worker: Worker, execution: Execution, moment: datetime) -> Do:
    return lambda: ending.end([outcome(execution, moment)], worker, moment)


@pytest.mark.parametrize("fires_first", [True, False])
def test_a_due_slot_is_unaffected_by_an_edit(
    *, task: Task, now: datetime, fires_first: bool
) -> None:
    moment = now + 5 * MINUTE
    both = [fire(moment), edit(task, moment, schedule="every 1 hour", payload={"n": 1})]
    first, second = both if fires_first else reversed(both)
    one_after_the_other(first, second)
    firing.fire(moment, limit=10)
    row = Execution.objects.get()
    assert (row.slot, row.payload, row.status) == (moment, {}, "queued")
    assert TaskState.objects.get().next_run_at == moment + 60 * MINUTE


def test_a_task_disabled_before_its_claim_is_skipped(
    task: Task, worker: Worker, now: datetime
) -> None:
    moment = now + 5 * MINUTE
    fire(moment)()
    disable = edit(task, moment, enabled=False)
    _, claimed = one_after_the_other(disable, claim(worker, moment))
    assert claimed == []
    assert claim(worker, moment)() == []
    assert Execution.objects.get().status == "skipped"


def test_disabling_a_task_leaves_a_claimed_run_running(
    task: Task, worker: Worker, now: datetime
) -> None:
    moment = now + 5 * MINUTE
    fire(moment)()
    disable = edit(task, moment, enabled=False)
    [claimed], _ = one_after_the_other(claim(worker, moment), disable)
    assert Execution.objects.get().status == "running"
    assert end(worker, claimed, moment)() == [claimed]


@pytest.mark.parametrize("ends_first", [True, False])
def test_a_run_outlives_the_deletion_of_its_task(
    *, task: Task, worker: Worker, now: datetime, ends_first: bool
) -> None:
    moment = now + 5 * MINUTE
    fire(moment)()
    [claimed] = claim(worker, moment)()
    both = [end(worker, claimed, moment), lambda: Task.objects.get().delete(now=moment)]
    first, second = both if ends_first else reversed(both)
    one_after_the_other(first, second)
    row = Execution.objects.get()
    assert (row.status, row.task, row.task_name) == ("success", None, "one")


@pytest.mark.parametrize("deletes_first", [True, False])
def test_a_deletion_cancels_only_what_is_still_queued(
    *, task: Task, worker: Worker, now: datetime, deletes_first: bool
) -> None:
    moment = now + 5 * MINUTE
    fire(moment)()
    both: list[Do] = [lambda: Task.objects.get().delete(now=moment), claim(worker, moment)]
    first, second = both if deletes_first else reversed(both)
    one_after_the_other(first, second)
    assert Execution.objects.get().status == ("cancelled" if deletes_first else "running")


@pytest.mark.parametrize("pauses_first", [True, False])
def test_a_pause_holds_only_what_is_still_queued(
    *, task: Task, worker: Worker, now: datetime, pauses_first: bool
) -> None:
    moment = now + 5 * MINUTE
    fire(moment)()
    both = [edit(task, moment, paused_until=moment + MINUTE), claim(worker, moment)]
    first, second = both if pauses_first else reversed(both)
    one_after_the_other(first, second)
    assert Execution.objects.get().status == ("queued" if pauses_first else "running")
    if pauses_first:
        assert len(claim(worker, moment + MINUTE)()) == 1


@pytest.mark.parametrize("fires_first", [True, False])
def test_rescheduling_onto_a_fired_slot_runs_it_once(
    *, task: Task, now: datetime, fires_first: bool
) -> None:
    moment = now + 5 * MINUTE
    slow_clock = moment - timedelta(seconds=1)
    both = [fire(moment), edit(task, slow_clock, schedule="*/5 * * * *")]
    first, second = both if fires_first else reversed(both)
    one_after_the_other(first, second)
    fire(moment)()
    assert list(Execution.objects.values_list("slot", flat=True)) == [moment]
    assert TaskState.objects.get().next_run_at == moment + 5 * MINUTE
