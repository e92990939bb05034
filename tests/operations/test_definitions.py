"""Tasks that Python code registers and changes: what is given changes, the rest stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from scheduled_tasks import (
    Cron,
    Interval,
    Once,
    Retry,
    change_task,
    disable_task,
    get_task,
    pause_task,
    register_task,
    run_task_now,
    scheduled_task,
)
from scheduled_tasks.exceptions import InvalidTask, ScheduledTasksError, UnknownTask
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.lifecycle.parking import park
from scheduled_tasks.models import Task, TaskChange
from scheduled_tasks.schedules import Schedule, parse

pytestmark = pytest.mark.django_db

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
#: What a task is that differs from its defaults in all that can be given.
GIVEN: dict[str, Any] = {
    "schedule": "0 2 * * *",
    "timezone": "Europe/Berlin",
    "payload": {"days": 3},
    "description": "Deletes.",
    "category": "nightly",
    "metadata": {"team": "a"},
    "queue": "slow",
    "priority": 3,
    "timeout": 60,
    "max_retries": 2,
    "starts_at": NOON,
    "paused_until": NOON,
    "pause_reason": "Stocktaking",
    "enabled": False,
}


@pytest.fixture(autouse=True)
def handlers(registry: HandlerRegistry) -> None:
    @scheduled_task(name="shop.cleanup")
    def cleanup(*, days: int = 30) -> None: ...


def test_true_is_another_value_than_one(registry: HandlerRegistry) -> None:
    register_task("one", "cleanup", metadata={"a": [True]})
    assert change_task("one", metadata={"a": [1]}).metadata == {"a": [1]}
    assert repr(get_task("one").metadata) == "{'a': [1]}"
    register_task("one", "cleanup", metadata={"a": [False]})
    register_task("one", "cleanup", metadata={"a": [0]})
    assert repr(get_task("one").metadata) == "{'a': [0]}"
    written = TaskChange.objects.count()
    register_task("one", "cleanup", metadata={"a": [0]})
    assert TaskChange.objects.count() == written


def stored(name: str = "one") -> dict[str, Any]:
    task = get_task(name)
    return {field: getattr(task, field) for field in GIVEN}


def test_what_registering_does_not_give_stays() -> None:
    register_task("one", "cleanup", **GIVEN)
    assert stored() == GIVEN
    register_task("one", "cleanup", category="hourly")
    assert stored() == GIVEN | {"category": "hourly"}
    register_task("one", "shop.cleanup", payload=None, timezone=None)
    assert stored() == GIVEN | {"category": "hourly"}


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_schedule_can_be_taken_away(nothing: str | None) -> None:
    for change in (register_task, change_task):
        register_task("one", "cleanup", "0 2 * * *", payload={"days": 3})
        given = {"handler": "cleanup"} if change is register_task else {}
        task = change("one", schedule=nothing, **given)
        assert (task.schedule, task.state.next_run_at, task.payload) == ("", None, {"days": 3})


@pytest.mark.parametrize(("field", "value"), GIVEN.items())
def test_a_change_changes_what_it_names(field: str, value: Any) -> None:
    before = register_task("one", "cleanup", "0 5 * * *").updated_at
    task = change_task("one", **{field: value}, by="user:ada")
    assert getattr(get_task("one"), field) == getattr(task, field) == value
    change = TaskChange.objects.latest("pk")
    assert (change.action, change.changed_by, list(change.fields)) == (
        "changed",
        "user:ada",
        [field],
    )
    assert get_task("one").updated_at > before


def test_a_change_takes_what_registering_takes(now: datetime) -> None:
    register_task("one", "cleanup", "0 5 * * *")
    every = Interval(timedelta(hours=2), anchor=now)
    task = change_task(
        "one", schedule=every, timeout=timedelta(minutes=2), retry=Retry(max_retries=7)
    )
    assert (task.schedule, task.anchor, task.timeout) == ("every 2 hours", now, 120)
    assert (task.max_retries, task.retry_delay) == (7, 1)
    task = change_task(task, schedule=Cron("0 9 * * *", timezone="Europe/Riga"))
    assert (task.schedule, task.timezone) == ("0 9 * * *", "Europe/Riga")


@pytest.mark.parametrize(
    "schedule",
    [
        "at 2030-07-01 09:00",
        Once(datetime(2030, 7, 1, 9)),
        Once.from_text("at 2030-07-01 09:00"),
        parse("at 2030-07-01 09:00"),
        Cron("0 9 1 7 *"),
        parse("0 9 1 7 *"),
    ],
    ids=repr,
)
def test_a_schedule_without_a_zone_changes_none(settings: Any, schedule: Schedule | str) -> None:
    settings.TIME_ZONE = "Europe/Riga"
    new = register_task("one", "cleanup", schedule)
    assert (new.schedule, new.timezone) == (str(schedule), "Europe/Riga")
    register_task("two", "cleanup", "0 3 * * *", timezone="Asia/Tokyo")
    for task in (
        change_task("two", schedule=schedule),
        register_task("two", "cleanup", schedule),
        change_task("two", schedule=schedule, timezone="Asia/Tokyo"),
    ):
        assert (task.schedule, task.timezone) == (str(schedule), "Asia/Tokyo")
    assert get_task("two").state.next_run_at.hour == 0


def test_the_zone_of_a_schedule_is_a_zone(settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Riga"
    for schedule in (
        Cron("0 9 * * *", timezone="UTC"),
        Once(NOON),
        parse("0 9 * * *", "UTC"),
    ):
        assert register_task("one", "cleanup", schedule).timezone == "UTC"
        change_task("one", timezone="Asia/Tokyo")
        for given in ({}, {"timezone": "UTC"}, {"timezone": None}):
            assert change_task("one", schedule=schedule, **given).timezone == "UTC"


def test_an_anchor_that_is_none_is_not_given() -> None:
    every = Interval(timedelta(hours=2), anchor=NOON)
    for name in ("one", "two"):
        assert register_task(name, "cleanup", every, anchor=None).anchor == NOON
    assert register_task("one", "cleanup", every, anchor=NOON).anchor == NOON
    change_task("one", schedule="every 1 hour")
    assert change_task("one", schedule=every, anchor=None).anchor == NOON
    # Without a schedule that has one, None takes it away.
    assert change_task("one", schedule="0 2 * * *", anchor=None).anchor is None


def test_delays_of_retries_may_be_timedeltas() -> None:
    three = timedelta(seconds=3)
    task = register_task("one", "cleanup", retry_delay=three, retry_max_delay=timedelta(days=1))
    assert (task.retry_delay, task.retry_max_delay) == (3, 86_400)
    assert change_task(task, retry=Retry(delay=three * 2)).retry_delay == 6
    with pytest.raises(InvalidTask, match="retry_delay: must be a whole number of seconds"):
        change_task(task, retry_delay=three / 2)


def test_a_change_makes_no_task() -> None:
    register_task("weekly", "cleanup")
    with pytest.raises(UnknownTask, match="Did you mean weekly"):
        change_task("weekl", category="x")
    stale = get_task("weekly")
    Task.objects.all().delete()
    with pytest.raises(UnknownTask, match="deleted meanwhile"):
        change_task(stale, category="x")
    assert not Task.objects.exists()


def test_what_is_as_stored_is_not_written() -> None:
    register_task("one", "cleanup", **GIVEN)
    updated, changes = get_task("one").updated_at, TaskChange.objects.count()
    with CaptureQueriesContext(connection) as queries:
        register_task("one", "cleanup", **GIVEN)
    assert len(queries) == 1
    change_task("one", category="nightly")
    assert (get_task("one").updated_at, TaskChange.objects.count()) == (updated, changes)


def test_registering_unparks_what_can_run_again(now: datetime) -> None:
    task = register_task("one", "cleanup", "0 2 * * *")
    park(task.state, "Its handler was away.", now, using="default")
    assert register_task("one", "cleanup", "0 2 * * *").state.parked_at is None
    assert get_task("one").state.next_run_at is not None


@pytest.mark.parametrize(
    ("fields", "wrong", "says"),
    [
        ({"retry": 3, "max_retries": 4}, "retry", "together with max_retries"),
        (
            {"schedule": Cron("0 9 * * *", timezone="Europe/Riga"), "timezone": "Asia/Tokyo"},
            "schedule",
            "Europe/Riga, and timezone= is Asia/Tokyo: give one of them",
        ),
        (
            {"schedule": Cron("0 9 * * *", timezone="UTC"), "timezone": "Asia/Tokyo"},
            "schedule",
            "UTC, and timezone= is Asia/Tokyo: give one of them",
        ),
        (
            {
                "schedule": Interval(timedelta(hours=1), anchor=NOON),
                "anchor": NOON.replace(hour=13),
            },
            "anchor",
            "differs from that of the schedule",
        ),
        ({"schedule": 5}, "schedule", "is not a schedule"),
        ({"schedule": timedelta(hours=1)}, "schedule", "is not a schedule"),
        ({"payload": "x"}, "payload", "must be a JSON object, not text"),
        ({"payload": [1]}, "payload", "must be a JSON object, not a list"),
        ({"metadata": None}, "metadata", "must be a JSON object, not null"),
        ({"description": None}, "description", "None"),
        ({"enabled": None}, "enabled", "None"),
        ({"executor": None}, "executor", "None"),
        ({"handler": None}, "handler", "None"),
        ({"priority": 1.5}, "priority", "whole number, not 1.5"),
        ({"priority": float("inf")}, "priority", "whole number, not inf"),
        ({"retry_backoff": float("nan")}, "retry_backoff", "number"),
        ({"starts_at": datetime(2030, 1, 1)}, "starts_at", "time zone"),
    ],
)
def test_what_cannot_be_is_refused_by_field(fields: dict[str, Any], wrong: str, says: str) -> None:
    register_task("one", "cleanup", **GIVEN)
    for change in (
        lambda: register_task(**{"name": "one", "handler": "cleanup"} | fields),
        lambda: register_task(**{"name": "two", "handler": "cleanup"} | fields),
        lambda: change_task("one", **fields),
    ):
        with pytest.raises(InvalidTask) as refused:
            change()
        assert list(refused.value.errors) == [wrong]
        assert says in str(refused.value)
    assert stored() == GIVEN
    assert Task.objects.count() == 1


def test_a_change_without_such_a_field_is_refused() -> None:
    register_task("one", "cleanup")
    with pytest.raises(TypeError, match=r"change_task\(\) takes no 'categry'. Did you mean 'cat"):
        change_task("one", categry="x")
    with pytest.raises(ScheduledTasksError, match="takes no 'nam'"):
        change_task("one", by="x", nam="two")


def test_a_name_of_an_unseen_task_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    register_task("one", "cleanup")
    # As under REPEATABLE READ, where the row of another transaction stays unseen.
    monkeypatch.setattr("scheduled_tasks.operations.definitions.stored", lambda _: None)
    with transaction.atomic(), pytest.raises(InvalidTask, match="try again"):
        register_task("one", "cleanup")
    assert Task.objects.count() == 1


def test_a_moment_that_has_passed_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """It is not refused: what registers a task at each start must not fail the day after."""
    for _again in range(2):
        task = register_task("one", "cleanup", "at 2020-01-01 09:00")
        assert task.state.next_run_at is None
    assert [record.getMessage() for record in caplog.records] == [
        "task=one will not run by itself: 'at 2020-01-01 09:00' has no slot after now"
    ]
    change_task("one", schedule="at 2090-01-01 09:00")
    change_task("one", category="x")
    assert len(caplog.records) == 1


def test_whoever_asks_is_recorded() -> None:
    register_task("one", "cleanup", "0 2 * * *")
    assert run_task_now("one", by="user:ada").triggered_by == "user:ada"
    assert run_task_now("one").triggered_by == "code"
    disable_task("one", by="user:bob")
    pause_task("one", NOON, by="user:cleo")
    changed_by = TaskChange.objects.order_by("pk").values_list("changed_by", flat=True)
    assert list(changed_by) == ["code", "user:bob", "user:cleo"]
