"""The Python API: what it makes, what it refuses, and that a refusal saves nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import connection, transaction

from scheduled_tasks import (
    Cron,
    Interval,
    Once,
    change_task,
    disable_task,
    enable_task,
    get_task,
    list_handlers,
    list_tasks,
    recent_executions,
    register_task,
    run_task_now,
    scheduled_task,
    task_history,
    unregister_task,
)
from scheduled_tasks.exceptions import (
    InvalidPayload,
    InvalidSchedule,
    InvalidTask,
    ScheduledTasksError,
    UnknownHandler,
    UnknownTask,
)
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.lifecycle.parking import park
from scheduled_tasks.models import Execution, Task, TaskChange
from scheduled_tasks.operations.pauses import pause_all_tasks, resume_all_tasks
from scheduled_tasks.operations.tasks import pause_task, reset_task_to_code, resume_task
from scheduled_tasks.testing import run_task

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def handlers(registry: HandlerRegistry) -> None:
    @scheduled_task(name="shop.cleanup")
    def cleanup(*, days: int = 30, day: date | None = None) -> None: ...

    @scheduled_task(name="shop.export")
    def export(*, customer: str) -> None: ...


def test_a_task_is_made_with_its_clock() -> None:
    task = register_task("weekly", "cleanup", Cron("0 2 * * MON", timezone="Europe/Berlin"))
    assert (task.handler, task.schedule) == ("shop.cleanup", "0 2 * * MON")
    assert task.timezone == "Europe/Berlin"
    assert task.origin == Task.Origin.API
    assert get_task("weekly").state.next_run_at == task.next_slot(task.updated_at)


def test_registering_again_changes_the_task_keeping_history() -> None:
    task = register_task("weekly", "shop.cleanup", "0 2 * * *")
    run_task_now("weekly")
    changed = register_task(
        "weekly", "shop.cleanup", "0 3 * * *", category="x", payload={"days": 1}
    )
    assert changed.pk == task.pk
    assert (changed.schedule, changed.category, changed.payload) == ("0 3 * * *", "x", {"days": 1})
    assert task_history("weekly").count() == 1


def test_registering_an_interval_again_keeps_its_phase(now: datetime) -> None:
    register_task("a", "cleanup", "every 1 hour")
    Task.objects.update(anchor=now)
    assert register_task("a", "cleanup", Interval(timedelta(hours=1))).anchor == now


def test_an_option_that_does_not_exist_is_refused() -> None:
    said = "no 'max_tries'. Did you mean 'max_retries'. It takes schedule, timezone, payload, by, "
    with pytest.raises(TypeError, match=said) as refused:
        register_task("a", "cleanup", max_tries=5)
    assert isinstance(refused.value, ScheduledTasksError)
    assert not Task.objects.exists()


def test_schedules_may_be_values(now: datetime) -> None:
    every = register_task("a", "cleanup", Interval(timedelta(minutes=5), anchor=now))
    once = register_task("b", "cleanup", Once(datetime(2040, 1, 1, 9, tzinfo=UTC)))
    assert (every.schedule, every.anchor) == ("every 5 minutes", now)
    assert once.state.next_run_at == datetime(2040, 1, 1, 9, tzinfo=UTC)
    assert register_task("c", "cleanup").state.next_run_at is None


@pytest.mark.parametrize(
    ("fields", "wrong", "says"),
    [
        ({"schedule": "0 25 * * *"}, "schedule", "25"),
        ({"schedule": "61 * * * *"}, "schedule", "61"),
        ({"schedule": "whenever"}, "schedule", "whenever"),
        ({"schedule": "0 0 30 2 *"}, "schedule", "never"),
        ({"timezone": "Europe/Berlim", "schedule": "0 2 * * *"}, "timezone", "Europe/Berlin"),
        ({"timezone": "Mars/Base"}, "timezone", "Mars/Base"),
        ({"handler": "shop.cleanap"}, "handler", "shop.cleanup"),
        ({"handler": ""}, "handler", ""),
        ({"payload": {"daays": 3}}, "payload", "did you mean days?"),
        ({"payload": {"days": "three"}}, "payload", "days:"),
        ({"handler": "shop.export", "schedule": "0 2 * * *"}, "payload", "customer: required"),
        ({"name": "Weekly Clean"}, "name", "lowercase letters"),
        ({"name": "a" * 101}, "name", "100"),
        ({"priority": "high"}, "priority", "integer"),
        ({"timeout": 0}, "timeout", "greater than or equal to 1"),
        ({"timeout": timedelta(0)}, "timeout", "greater than or equal to 1"),
        ({"timeout": timedelta(seconds=-5)}, "timeout", "greater than or equal to 1"),
        ({"timeout": timedelta(seconds=0.5)}, "timeout", "whole number of seconds"),
        ({"timeout": "soon"}, "timeout", "integer"),
        ({"memory_limit_mb": 0}, "memory_limit_mb", "greater than or equal to 1"),
        ({"memory_limit_mb": 1.5}, "memory_limit_mb", "whole number of megabytes"),
        ({"memory_limit_mb": timedelta(1)}, "memory_limit_mb", "must be a whole number"),
        ({"memory_limit_mb": 10**30}, "memory_limit_mb", "less than or equal to"),
        ({"executor": "celery"}, "executor", "'celery' is not a valid choice"),
    ],
)
def test_an_invalid_task_is_refused_and_not_saved(
    fields: dict[str, Any], wrong: str, says: str
) -> None:
    task = {"name": "weekly", "handler": "cleanup"} | fields
    with pytest.raises(InvalidTask) as refused:
        register_task(**task)
    assert list(refused.value.errors) == [wrong]
    assert says in str(refused.value)
    assert isinstance(refused.value, ValueError)
    assert not Task.objects.exists()


def test_limits_are_kept_until_they_are_given_anew() -> None:
    limits = {"timeout": timedelta(minutes=2), "memory_limit_mb": 200, "executor": "process"}
    register_task("weekly", "cleanup", **limits)
    task = register_task("weekly", "cleanup")
    assert (task.timeout, task.memory_limit_mb, task.executor) == (120, 200, "process")
    register_task("weekly", "cleanup", timeout=None, executor="")
    task = get_task("weekly")
    assert (task.timeout, task.memory_limit_mb, task.executor) == (None, 200, "")


def test_a_refused_change_leaves_the_task_unchanged() -> None:
    register_task("weekly", "cleanup", "0 2 * * *")
    with pytest.raises(InvalidTask):
        register_task("weekly", "cleanup", "0 2 * * * *")
    assert get_task("weekly").schedule == "0 2 * * *"


def test_saving_without_validation_refuses_a_bad_schedule() -> None:
    with pytest.raises(InvalidSchedule):
        Task(name="x", handler="shop.cleanup", schedule="nonsense").save()
    assert not Task.objects.exists()


def test_a_task_may_lack_required_arguments_until_run() -> None:
    register_task("export", "shop.export")
    with pytest.raises(InvalidPayload, match="customer: required"):
        run_task_now("export")
    assert run_task_now("export", {"customer": "Ada"}).payload == {"customer": "Ada"}


def test_a_payload_may_hold_dates() -> None:
    register_task("weekly", "cleanup", "0 2 * * *", payload={"day": date(2026, 3, 1)})
    assert get_task("weekly").payload == {"day": "2026-03-01"}
    assert run_task_now("weekly", {"day": date(2026, 3, 2)}).payload == {"day": "2026-03-02"}


def test_a_bad_payload_queues_nothing() -> None:
    register_task("weekly", "cleanup")
    with pytest.raises(InvalidPayload, match="days"):
        run_task_now("weekly", {"days": None})
    assert not Execution.objects.exists()


def test_a_task_without_its_handler_cannot_run() -> None:
    register_task("weekly", "cleanup")
    Task.objects.update(handler="shop.gone")
    with pytest.raises(UnknownHandler, match=r"shop\.gone"):
        run_task_now("weekly")


def test_unknown_names_are_answered_with_near_ones() -> None:
    register_task("weekly-cleanup", "cleanup")
    for operation in (get_task, enable_task, disable_task, unregister_task, run_task_now):
        with pytest.raises(UnknownTask, match="Did you mean weekly-cleanup") as refused:
            operation("weekly-clean")
        assert isinstance(refused.value, ScheduledTasksError)


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", "x" * 100_000, "Weekly"])
def test_an_impossible_name_is_unknown_on_every_database(name: str) -> None:
    with pytest.raises(UnknownTask):
        get_task(name)
    assert not task_history(name).exists()
    with pytest.raises(InvalidTask):
        register_task(name, "cleanup")


def test_history_survives_its_task() -> None:
    register_task("weekly", "cleanup")
    execution = run_task_now("weekly")
    unregister_task("weekly")
    assert [row.pk for row in task_history("weekly")] == [execution.pk]
    assert recent_executions().get().task is None


def test_listings() -> None:
    register_task("b", "cleanup")
    register_task("a", "cleanup")
    assert [task.name for task in list_tasks()] == ["a", "b"]
    assert [handler.key for handler in list_handlers()] == ["shop.cleanup", "shop.export"]


def test_run_now_joins_the_callers_transaction() -> None:
    register_task("weekly", "cleanup")
    with transaction.atomic():
        run_task_now("weekly")
        assert connection.in_atomic_block
        transaction.set_rollback(True)
    assert not Execution.objects.exists()


def test_disabling_clears_the_clock_and_enabling_restarts_it() -> None:
    register_task("weekly", "cleanup", "every 1 hour")
    anchor = get_task("weekly").anchor
    assert disable_task("weekly").state.next_run_at is None
    task = enable_task("weekly")
    assert task.anchor == anchor
    assert task.state.next_run_at == task.next_slot(task.updated_at)


def test_a_bad_schedule_parks_the_task_when_enabled() -> None:
    register_task("weekly", "cleanup", "every 1 hour")
    Task.objects.update(schedule="every now and then")
    assert disable_task("weekly").state.next_run_at is None
    state = enable_task("weekly").state
    assert state.next_run_at is None
    assert "every now and then" in state.parked_reason


def test_mending_a_parked_task_unparks_it() -> None:
    task = register_task("weekly", "cleanup", "every 1 hour")
    park(task.state, "Its handler was away.", task.updated_at, using="default")
    task.description = "looked after"
    task.save()
    state = get_task("weekly").state
    assert (state.parked_at, state.parked_reason) == (None, "")
    assert state.next_run_at is not None


def test_only_editing_the_interval_moves_its_anchor() -> None:
    register_task("weekly", "cleanup", "every 1 hour")
    Task.objects.update(anchor=datetime(2026, 1, 1, 0, 7, tzinfo=UTC))
    task = get_task("weekly")
    task.description = "only words"
    task.save()
    assert get_task("weekly").anchor == datetime(2026, 1, 1, 0, 7, tzinfo=UTC)
    task.schedule = "every 2 hours"
    task.save(now=datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC))
    assert get_task("weekly").anchor == datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_a_stale_save_does_not_rewind_the_clock() -> None:
    stale = register_task("weekly", "cleanup", "every 1 second")
    later = stale.state.next_run_at + timedelta(minutes=10)
    type(stale.state).objects.update(next_run_at=later)
    stale.description = "edited on a page that was opened long ago"
    stale.save()
    assert get_task("weekly").state.next_run_at == later


def test_a_pause_of_a_task_begins_and_ends() -> None:
    register_task("weekly", "cleanup", "every 1 hour")
    until = datetime(2030, 1, 1, tzinfo=UTC)
    paused = pause_task("weekly", until, reason="Stocktaking", by="user:ada")
    assert (paused.paused_until, paused.pause_reason) == (until, "Stocktaking")
    assert TaskChange.objects.latest("pk").changed_by == "user:ada"
    resume_task("weekly")
    assert (get_task("weekly").paused_until, get_task("weekly").pause_reason) == (None, "")


def test_a_pause_that_is_over_is_refused() -> None:
    now = datetime(2020, 3, 1, 12, tzinfo=UTC)
    register_task("weekly", "cleanup", "every 1 hour")
    with pytest.raises(InvalidTask, match=r"until: 2020-.* is in the past: .*resume_task\(\) ends"):
        pause_task("weekly", now)
    with pytest.raises(InvalidTask, match="in the past"):
        pause_task("weekly", now, now=now)
    later = now + timedelta(hours=1)
    assert pause_task("weekly", later, now=now).paused_until == later
    # It is over by now, and other fields can be changed.
    for over in (later, later.isoformat()):
        task = change_task("weekly", category=str(over), paused_until=over)
        assert (task.category, task.paused_until) == (str(over), later)
    for over in (now, str(now)):
        with pytest.raises(InvalidTask, match=r"paused_until: 2020-.* is in the past: .*resume_t"):
            change_task("weekly", category="mail", paused_until=over)
    for _again in range(2):
        with pytest.raises(InvalidTask, match="in the past"):
            change_task(task, category="mail", paused_until=now)
    assert get_task("weekly").category == task.category == later.isoformat()
    assert change_task("weekly", paused_until=None).paused_until is None


def test_registering_repeats_a_pause_that_is_over() -> None:
    """It is not refused: what registers a task at each start must not fail the day after."""
    over = datetime(2020, 3, 1, 12, tzinfo=UTC)
    for name in ("new", "weekly"):
        register_task("weekly", "cleanup", "every 1 hour")
        assert register_task(name, "cleanup", paused_until=over).paused_until == over


def test_a_pause_has_the_time_that_is_given() -> None:
    task = register_task("weekly", "cleanup", "every 1 hour")
    due = task.state.next_run_at
    now = due + timedelta(minutes=30)
    pause_task("weekly", due + timedelta(hours=9), now=now)
    # What came before is decided as it was: it waits for a worker.
    assert list(recent_executions().values_list("scheduled_for", "status")) == [(due, "queued")]
    resume_task("weekly", now=now + timedelta(hours=2))
    assert get_task("weekly").state.next_run_at == due + timedelta(hours=3)
    statuses = [execution.status for execution in recent_executions()]
    assert sorted(statuses) == ["queued", "skipped"]


def test_operations_take_a_task_without_reading_it() -> None:
    task = register_task("weekly", "cleanup", "every 1 hour")
    assert disable_task(task) is task
    assert pause_task(task, datetime(2030, 1, 1, tzinfo=UTC)) is task
    assert resume_task(task) is task
    assert reset_task_to_code(task) is task
    assert enable_task(task) is task


EDGES = [
    datetime.min.replace(tzinfo=UTC),
    datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
    datetime(1899, 12, 31, tzinfo=UTC),
    datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))),
]


@pytest.mark.parametrize("moment", EDGES, ids=str)
def test_moments_out_of_range_are_refused(moment: datetime) -> None:
    register_task("weekly", "cleanup")
    calls: list[Callable[[], Any]] = [
        lambda: run_task_now("weekly", now=moment),
        lambda: pause_task("weekly", moment),
        lambda: pause_all_tasks(until=moment),
        lambda: pause_task("weekly", datetime(2030, 1, 1, tzinfo=UTC), now=moment),
        lambda: resume_task("weekly", now=moment),
        lambda: pause_all_tasks(now=moment),
        lambda: resume_all_tasks(now=moment),
    ]
    for call in calls:
        with pytest.raises(InvalidTask, match="must be a moment between the years 1900 and 9000"):
            call()
    with pytest.raises(ValueError, match="between the years 1900 and 9000"):
        run_task("weekly", now=moment)
    assert not recent_executions()
