"""Retries: which failures come back, when, how often, and what is kept of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduled_tasks import (
    PermanentError,
    Retry,
    RetryLater,
    declare,
    register_task,
    run_task_now,
    scheduled_task,
)
from scheduled_tasks.exceptions import InvalidTask
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.handlers.retries import fraction, retry_of
from scheduled_tasks.lifecycle import claiming, ending, recording
from scheduled_tasks.models import Attempt, Execution, Task
from scheduled_tasks.operations.sync import sync
from scheduled_tasks.operations.tasks import reset_task_to_code
from scheduled_tasks.worker.scheduler import Scheduler

Make = Callable[..., Task]
MakeScheduler = Callable[..., Scheduler]
SECOND = timedelta(seconds=1)


class AuthError(ConnectionError):
    """Another password will not do either."""


@dataclass
class Luck:
    """What the handler raises, one after the other; then it returns."""

    errors: list[BaseException]


@pytest.fixture
def luck(registry: HandlerRegistry) -> Luck:
    luck = Luck([])

    @scheduled_task(
        name="jobs.try",
        retry=Retry(retry_on=(ConnectionError, RuntimeError), give_up_on=(AuthError,)),
    )
    def attempt() -> str:
        if luck.errors:
            raise luck.errors.pop(0)
        return "done"

    return luck


@pytest.fixture
def one(luck: Luck, make_task: Make) -> Task:
    return make_task("one", "jobs.try", max_retries=5)


def tick_until_it_waits(worker: Scheduler, moment: datetime) -> Execution:
    worker.tick(moment)
    return Execution.objects.get()


def test_retry_true_means_five_with_exponential_backoff() -> None:
    nominal = [1, 2, 4, 8, 16]
    for key in ("a", "b", "c"):
        waits = [retry_of(True).wait(n, key=key) for n in (1, 2, 3, 4, 5)]
        for seconds, wait in zip(nominal, waits, strict=True):
            assert wait is not None
            assert seconds * SECOND <= wait <= seconds * 1.1 * SECOND
    assert retry_of(True).wait(6) is None
    assert retry_of(False).wait(1) is None
    assert retry_of(3).max_retries == 3


@given(
    st.integers(1, 10**6),
    st.integers(0, 10**6),
    st.floats(1, 1000),
    st.integers(0, 10**6),
    st.text(max_size=5),
)
def test_a_wait_never_leaves_its_bounds(
    failures: int, delay: int, backoff: float, longest: int, key: str
) -> None:
    retry = Retry(max_retries=10**6, delay=delay, backoff=backoff, max_delay=longest)
    wait = retry.wait(failures, key=key)
    assert wait is not None
    assert min(delay, longest) * SECOND <= wait <= longest * 1.1 * SECOND


def test_what_is_added_differs_from_execution_to_execution() -> None:
    assert fraction("1") == 0.42002406413666904  # on every machine
    assert len({fraction(str(n)) for n in range(100)}) == 100
    assert 0.4 < sum(fraction(str(n)) for n in range(1000)) / 1000 < 0.6


def test_a_wait_may_be_given_as_timedelta() -> None:
    given = Retry(delay=timedelta(minutes=1), max_delay=timedelta(minutes=3))
    same = Retry(delay=60, max_delay=180)
    assert [given.wait(n) for n in (1, 2, 3)] == [same.wait(n) for n in (1, 2, 3)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_retries": -1},
        {"delay": 0.5},
        {"delay": timedelta(seconds=0.5)},
        {"delay": timedelta(seconds=-1)},
        {"max_delay": timedelta.max},
        {"backoff": 0.5},
        {"max_delay": True},
        {"retry_on": ConnectionError},
        {"give_up_on": ("text",)},
    ],
)
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask, match=f"{next(iter(wrong))}: must be"):
        Retry(**wrong)


def test_a_retry_is_true_a_number_or_retry() -> None:
    with pytest.raises(InvalidTask, match="retry: must be True, a number of retries or a Retry"):
        retry_of("often")


@pytest.mark.django_db
def test_each_failure_waits_longer_and_is_kept(
    one: Task, luck: Luck, scheduler: MakeScheduler, now: datetime
) -> None:
    luck.errors = [ConnectionError(f"no luck {n}") for n in range(1, 6)]
    worker, moment = scheduler(), now
    run_task_now("one", now=now)
    for seconds in (1, 2, 4, 8, 16):
        row = tick_until_it_waits(worker, moment)
        wait = row.run_after - moment
        assert row.status == "queued"
        assert abs(wait - seconds * 1.05 * SECOND) <= seconds * 0.05 * SECOND + SECOND
        assert worker.tick(row.run_after - SECOND / 1000).claimed == 0
        moment = row.run_after
    row = tick_until_it_waits(worker, moment)
    assert (row.status, row.result, row.error) == ("success", "done", "")
    assert (row.attempt, row.failures, row.losses) == (6, 5, 0)
    kept = list(Attempt.objects.values_list("number", "outcome", "error", "error_category"))
    assert kept == [(n, "failed", f"ConnectionError: no luck {n}", "network") for n in range(1, 6)]
    for attempt in Attempt.objects.all():
        assert "raise luck.errors.pop(0)" in attempt.traceback
        assert (attempt.worker, attempt.worker_label) == (row.worker, worker.engine.worker.label)
        assert attempt.claimed_at <= attempt.started_at <= attempt.finished_at < row.claimed_at
    one.state.refresh_from_db()
    assert (one.state.execution_count, one.state.consecutive_failures) == (1, 0)


@pytest.mark.django_db
def test_a_run_without_retries_left_has_failed(
    one: Task, luck: Luck, scheduler: MakeScheduler, now: datetime
) -> None:
    luck.errors = [RuntimeError("no luck")] * 9
    Task.objects.update(max_retries=2, retry_delay=0)
    run_task_now("one", now=now)
    worker = scheduler()
    for second in range(1, 9):
        worker.tick(now + second * 60 * SECOND)
    row = Execution.objects.get()
    assert (row.status, row.attempt, row.failures) == ("failed", 3, 3)
    assert row.error_fingerprint != ""
    assert row.attempts.count() == 2


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("error", "category"),
    [
        (PermanentError("never"), "permanent"),
        (AuthError("wrong password"), "network"),
        (KeyError("not among those that are retried"), "logic"),
    ],
)
def test_some_failures_are_final_at_once(
    *,
    one: Task,
    luck: Luck,
    scheduler: MakeScheduler,
    now: datetime,
    error: BaseException,
    category: str,
) -> None:
    luck.errors = [error]
    run_task_now("one", now=now)
    row = tick_until_it_waits(scheduler(), now)
    assert (row.status, row.error_category, row.failures) == ("failed", category, 1)


@pytest.mark.django_db
def test_an_invalid_payload_is_not_retried(
    one: Task, scheduler: MakeScheduler, now: datetime
) -> None:
    run_task_now("one", now=now)
    Execution.objects.update(payload={"no": "such argument"})
    row = tick_until_it_waits(scheduler(), now)
    assert (row.status, row.error_category) == ("failed", "payload")


@pytest.mark.django_db
def test_later_costs_nothing_however_often(
    luck: Luck, make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    make_task("one", "jobs.try")
    luck.errors = [RetryLater(90, "the file is not there yet") for _ in range(7)]
    run_task_now("one", now=now)
    worker, moment = scheduler(), now
    for _ in range(7):
        row = tick_until_it_waits(worker, moment)
        assert row.status == "queued"
        assert 0 <= (row.run_after - moment - 90 * SECOND).total_seconds() < 60
        moment = row.run_after
    row = tick_until_it_waits(worker, moment)
    assert (row.status, row.failures, row.attempt) == ("success", 0, 8)
    assert set(Attempt.objects.values_list("outcome", "error")) == {
        ("postponed", "scheduled_tasks.exceptions.RetryLater: the file is not there yet")
    }


@pytest.mark.parametrize("delay", [-1, timedelta(days=400), float("nan"), float("inf"), 1e15])
def test_later_is_neither_before_nor_in_years(delay: Any) -> None:
    with pytest.raises(ValueError, match="takes a delay of 0 to 366 days, not"):
        RetryLater(delay)


def test_later_without_a_time_is_at_once() -> None:
    class Later(RetryLater):
        def __init__(self) -> None: ...

    assert Later().delay == timedelta()


@pytest.mark.django_db
def test_failures_and_losses_have_budgets_of_their_own(
    one: Task, luck: Luck, scheduler: MakeScheduler, now: datetime
) -> None:
    luck.errors = [RuntimeError("no luck")] * 2
    Task.objects.update(max_retries=2, max_losses=2, retry_delay=0)
    run_task_now("one", now=now)
    worker, moment = scheduler(), now
    worker.tick(moment)
    for _ in range(4):
        moment += 60 * SECOND
        [row] = claiming.claim(worker.engine.worker, moment, limit=1, handlers=["jobs.try"]).rows
        recording.record_begin((row.pk, row.attempt))
        ending.give_back([str(worker.engine.worker.pk)], moment, reason="gone", charged=True)
    worker.tick(moment + 60 * SECOND)
    row = tick_until_it_waits(worker, moment + 120 * SECOND)
    assert (row.status, row.attempt, row.failures, row.losses) == ("success", 7, 2, 2)
    outcomes = list(Attempt.objects.order_by("number").values_list("outcome", flat=True))
    assert outcomes == ["failed", *["lost"] * 4, "failed"]


@pytest.mark.django_db
def test_what_waits_for_a_retry_occupies_its_task(
    luck: Luck, make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    make_task("one", "jobs.try", "every 1 minute", max_retries=1, retry_delay=600)
    luck.errors = [RuntimeError("no luck")]
    worker = scheduler()
    worker.tick(now + 60 * SECOND)
    worker.tick(now + 120 * SECOND)
    worker.tick(now + 180 * SECOND)
    rows = Execution.objects.order_by("slot").values_list("status", "slots")
    assert list(rows) == [("queued", 1), ("skipped", 2)]


def test_retries_are_declared_as_number_or_retry(registry: HandlerRegistry) -> None:
    @scheduled_task(retry=True)
    def a() -> None: ...

    minute = timedelta(minutes=1)

    @scheduled_task(retry=Retry(max_retries=2, delay=10, backoff=1, max_delay=minute))
    def b() -> None: ...

    first, second = (declaration.policies for declaration in registry.declarations)
    assert (first["max_retries"], first["retry_delay"], first["retry_backoff"]) == (5, 1, 2.0)
    assert (second["max_retries"], second["retry_delay"], second["retry_max_delay"]) == (2, 10, 60)


def test_exception_classes_belong_to_the_handler(luck: Luck, db: None) -> None:
    retry = Retry(retry_on=(ConnectionError,))
    with pytest.raises(TypeError, match=r"declare\(\) does not accept retry_on"):
        declare("jobs.try", name="two", retry=retry)
    with pytest.raises(TypeError, match=r"register_task\(\) does not accept retry_on"):
        register_task("two", "jobs.try", retry=retry)
    assert register_task("two", "jobs.try", retry=2).max_retries == 2


def test_an_edited_number_of_retries_is_kept(luck: Luck, db: None) -> None:
    sync()
    task = Task.objects.get()
    assert task.max_retries == 5
    task.max_retries = 1
    task.save()
    assert task.changed_from_code == ["max_retries"]
    sync()
    task.refresh_from_db()
    assert task.max_retries == 1
    reset_task_to_code(task.name)
    assert Task.objects.get().max_retries == 5
