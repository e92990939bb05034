"""What follows from edits: slots that came before, what waits, the clock, and who did it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from scheduled_tasks import (
    Interval,
    Retry,
    register_task,
    run_task_now,
    unregister_task,
)
from scheduled_tasks.exceptions import InvalidTask, UnknownTask
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.lifecycle import ending, firing
from scheduled_tasks.lifecycle.parking import park, unpark
from scheduled_tasks.models import Attempt, Execution, Task, TaskChange, Worker
from scheduled_tasks.operations.sync import sync
from tests.support.attempts import claim, loss, outcome

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
Make = Callable[..., Task]


@pytest.fixture
def task(make_task: Make) -> Task:
    return make_task("one", "jobs.nothing", "every 5 minutes")


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level("INFO", logger="scheduled_tasks")
    return caplog


def edit(task: Task, moment: datetime, **fields: Any) -> None:
    fresh = Task.objects.get(pk=task.pk)
    for name, value in fields.items():
        setattr(fresh, name, value)
    fresh.save(now=moment, by="user:ada")


def next_run(task: Task) -> datetime | None:
    task.state.refresh_from_db()
    return task.state.next_run_at


def test_a_slot_before_an_edit_keeps_old_settings(task: Task, now: datetime) -> None:
    edit(task, now + 5.5 * MINUTE, schedule="every 1 hour", payload={"n": 1}, priority=9)
    row = Execution.objects.get()
    assert (row.slot, row.payload, row.priority) == (now + 5 * MINUTE, {}, 0)
    assert next_run(task) == now + 65.5 * MINUTE


def test_unseen_slots_before_an_edit_are_covered(task: Task, now: datetime) -> None:
    edit(task, now + 22 * MINUTE, enabled=False)
    rows = Execution.objects.order_by("slot").values_list("status", "slots", "reason")
    assert list(rows) == [
        ("missed", 3, "No scheduler was running; a later slot was run instead."),
        ("skipped", 1, "The task was disabled."),
    ]
    assert next_run(task) is None


def test_ending_a_pause_early_covers_slots_until_then(task: Task, now: datetime) -> None:
    edit(task, now, paused_until=now + timedelta(hours=5), pause_reason="moving")
    assert next_run(task) == now + 5 * MINUTE
    edit(task, now + 12 * MINUTE, paused_until=None)
    row = Execution.objects.get()
    assert (row.status, row.slots) == ("skipped", 2)
    assert row.reason.endswith("moving")
    assert next_run(task) == now + 15 * MINUTE


def test_editing_the_description_keeps_clock_and_phase(task: Task, now: datetime) -> None:
    edit(task, now + 2 * MINUTE, description="Nothing.", timeout=5)
    assert next_run(task) == now + 5 * MINUTE


def test_disabling_skips_queued_slots_but_not_requested_runs(
    task: Task, worker: Worker, now: datetime
) -> None:
    moment = now + 5 * MINUTE
    firing.fire(moment, limit=1)
    asked = run_task_now("one", now=moment)
    edit(task, moment + SECOND, enabled=False)
    assert claim(worker, moment + 2 * SECOND) == asked
    assert Execution.objects.get(slot=moment).status == "skipped"


def test_disabling_fails_what_waits_for_a_retry(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    task = make_task("two", "jobs.nothing", "every 5 minutes", max_retries=3)
    moment = now + 5 * MINUTE
    firing.fire(moment, limit=1)
    ending.end([outcome(claim(worker, moment), moment, "failed", error="no luck")], worker, moment)
    assert Execution.objects.get().status == "queued"
    edit(task, moment, enabled=False)
    row = Execution.objects.get()
    assert (row.status, row.reason, row.error) == ("failed", "The task was disabled.", "no luck")
    assert Attempt.objects.count() == 1
    task.state.refresh_from_db()
    assert (task.state.last_status, task.state.consecutive_failures) == ("failed", 1)


def test_disabling_leaves_what_runs(task: Task, worker: Worker, now: datetime) -> None:
    moment = now + 5 * MINUTE
    firing.fire(moment, limit=1)
    running = claim(worker, moment)
    edit(task, moment, enabled=False)
    done = ending.end([outcome(running, moment, "failed", error="no luck")], worker, moment)
    assert [row.status for row in done] == ["failed"]


def test_deleting_cancels_queued_but_not_running_executions(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    task = make_task(
        "two", "jobs.nothing", "every 5 minutes", overlap_policy="allow", max_retries=3
    )
    moment = now + 5 * MINUTE
    firing.fire(moment, limit=1)
    running = claim(worker, moment)
    run_task_now("two", now=moment)
    task.delete(now=moment + 5 * MINUTE, by="user:ada")
    waiting = Execution.objects.exclude(pk=running.pk).values_list("status", "reason")
    assert set(waiting) == {("cancelled", "The task was deleted.")}
    assert len(waiting) == 2  # what was asked for, and the slot that came before the deletion
    [ended] = ending.end([outcome(running, moment, "failed", error="no luck")], worker, moment)
    assert (ended.status, ended.task_name, ended.task) == ("failed", "two", None)


def test_a_deleted_tasks_lost_run_has_failed(task: Task, worker: Worker, now: datetime) -> None:
    moment = now + 5 * MINUTE
    firing.fire(moment, limit=1)
    running = claim(worker, moment)
    task.delete(now=moment)
    [ended] = ending.end([loss(running)], worker, moment)
    assert (ended.status, ended.error_category) == ("failed", "lost")


def test_a_slow_clock_does_not_repeat_a_slot(task: Task, now: datetime) -> None:
    firing.fire(now + 5 * MINUTE, limit=1)
    edit(task, now + 4 * MINUTE, schedule="*/5 * * * *")
    assert next_run(task) == now + 10 * MINUTE


def test_a_late_save_does_not_restore_deleted_tasks(task: Task, now: datetime) -> None:
    stale = Task.objects.get(pk=task.pk)
    task.delete(now=now)
    with pytest.raises(UnknownTask, match="'one' was deleted meanwhile"):
        stale.save(now=now)
    assert not Task.objects.exists()


def test_the_window_is_part_of_the_clock(task: Task, now: datetime) -> None:
    edit(task, now, starts_at=now + 60 * MINUTE)
    assert next_run(task) == now + 60 * MINUTE
    edit(task, now, ends_at=now + 30 * MINUTE, starts_at=None)
    edit(task, now + 40 * MINUTE, ends_at=None)
    assert next_run(task) == now + 45 * MINUTE


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"starts_at": 2, "ends_at": 1}, "ends_at: The end must be later than the start."),
        ({"retry_backoff": 0.5}, "retry_backoff: Ensure this value is greater than"),
        ({"jitter": 90_000}, "jitter: Ensure this value is less than"),
        ({"overlap_policy": "none"}, "overlap_policy: 'none' is not a valid choice"),
        ({"catch_up_limit": 0}, "catch_up_limit: Ensure"),
        ({"paused_until": -100_000}, "paused_until: Enter a date between the years"),
    ],
)
def test_what_makes_no_policy_is_refused(
    db: None, now: datetime, fields: dict[str, Any], said: str
) -> None:
    moments = {
        name: now + timedelta(days=value) if name.endswith(("_at", "_until")) else value
        for name, value in fields.items()
    }
    with pytest.raises(InvalidTask, match=said):
        register_task("one", "jobs.nothing", **moments)


def changes() -> list[tuple[Any, ...]]:
    return list(
        TaskChange.objects.order_by("pk").values_list(
            "task_name", "action", "changed_by", "fields", "reason"
        )
    )


def test_each_change_records_old_and_new_values(now: datetime) -> None:
    task = register_task("one", "jobs.nothing", "0 2 * * *", timezone="UTC", by="user:ada")
    task.schedule, task.paused_until = "0 3 * * *", now
    task.save(now=now, by="key:ci")
    task.save(now=now)
    task.switch(enabled=False)
    unregister_task("one", by="cli:bob")
    made, changed, switched, gone = changes()
    assert made[:3] == ("one", "created", "user:ada")
    assert made[3]["schedule"] == [None, "0 2 * * *"]
    assert "priority" not in made[3]
    assert changed[:3] == ("one", "changed", "key:ci")
    assert changed[3] == {
        "schedule": ["0 2 * * *", "0 3 * * *"],
        "paused_until": [None, "2026-03-01T12:00:00Z"],
    }
    assert switched == ("one", "changed", "code", {"enabled": [True, False]}, "")
    assert gone[:3] == ("one", "deleted", "cli:bob")
    assert TaskChange.objects.filter(task=None).count() == 4


def test_changes_by_engine_and_sync_are_recorded(registry: HandlerRegistry, now: datetime) -> None:
    task = register_task("one", "jobs.nothing", "0 2 * * *")
    Task.objects.update(origin="code", declared={"name": "one"})
    sync(now=now)
    task.state.refresh_from_db()
    unpark(task.state, now, using="default")
    park(task.state, "No worker knows it.", now, using="default")
    found = [row[1:3] for row in changes() if row[0] == "one"]
    assert found == [
        ("created", "code"),
        ("parked", "sync"),
        ("unparked", "engine"),
        ("parked", "engine"),
    ]
    assert changes()[-1][4] == "No worker knows it."


def test_a_stale_save_writes_only_its_update_fields(task: Task, now: datetime) -> None:
    stale = Task.objects.get(pk=task.pk)
    edit(task, now, schedule="every 20 minutes", anchor=now - MINUTE)
    stale.paused_until = now + 60 * MINUTE
    stale.save(update_fields=["paused_until"], now=now, by="user:bob")
    fresh = Task.objects.get(pk=task.pk)
    assert (fresh.schedule, fresh.anchor) == ("every 20 minutes", now - MINUTE)
    assert next_run(task) == now + 19 * MINUTE
    assert list(changes()[-1][3]) == ["paused_until"]


def test_a_repeated_anchor_survives_a_new_interval(now: datetime) -> None:
    for minutes in (5, 10):
        every = Interval(timedelta(minutes=minutes), anchor=now)
        assert register_task("one", "jobs.nothing", every).anchor == now


@pytest.mark.parametrize(
    "fields",
    [
        {"misfire_grace": 10**14},
        {"retry": Retry(backoff=1000), "max_losses": 10**10},
        {"catch_up_limit": 10**6},
        {"retry_backoff": float("nan")},
        {"starts_at": datetime(2026, 3, 1)},
    ],
)
def test_values_out_of_range_are_refused(db: None, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask):
        register_task("one", "jobs.nothing", **fields)
    assert not Task.objects.exists()


def test_slots_decided_by_an_edit_are_logged(
    make_task: Make, logged: pytest.LogCaptureFixture, now: datetime
) -> None:
    for name in ("edited", "deleted"):
        make_task(name, "jobs.nothing", "every 5 minutes", misfire_policy="skip")
    edit(Task.objects.get(name="edited"), now + 20 * MINUTE, description="new")
    Task.objects.get(name="deleted").delete(now=now + 20 * MINUTE)
    said = [record.getMessage() for record in logged.records if record.levelname == "WARNING"]
    assert [line.split(" from=")[0] for line in said] == [
        "missed task=edited slots=3",
        "missed task=deleted slots=3",
    ]


def test_parking_ends_what_waits_for_slots_whoever_parks(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    task = make_task(
        "one", "jobs.nothing", "every 5 minutes", overlap_policy="allow", max_retries=3
    )
    firing.fire(now + 5 * MINUTE, limit=10)
    tried = claim(worker, now + 5 * MINUTE)
    ending.end(
        [outcome(tried, now + 6 * MINUTE, "failed", error="no luck")], worker, now + 6 * MINUTE
    )
    firing.fire(now + 10 * MINUTE, limit=10)
    asked = run_task_now("one", now=now + 10 * MINUTE)
    task.refresh_from_db()
    park(task.state, "Nobody likes it.", now + 11 * MINUTE, using="default")
    [fresh] = Execution.objects.exclude(pk__in=[tried.pk, asked.pk])
    tried.refresh_from_db()
    asked.refresh_from_db()
    assert (fresh.status, fresh.reason) == ("skipped", "Nobody likes it.")
    assert (tried.status, tried.reason, tried.error) == ("failed", "Nobody likes it.", "no luck")
    assert asked.status == "queued"


@pytest.mark.parametrize("change", ["reset", "registered"])
def test_a_stale_task_does_not_undo_others_changes(
    make_task: Make, monkeypatch: pytest.MonkeyPatch, now: datetime, change: str
) -> None:
    make_task("one", "jobs.nothing", declared={"category": "said"})
    stale = Task.objects.get(name="one")
    Task.objects.get(name="one").switch(enabled=False, now=now)
    if change == "reset":
        stale.reset_to_code()
    else:
        monkeypatch.setattr(Task, "validate", lambda self, **_: setattr(self, "enabled", True))
        register_task("one", "jobs.nothing", category="said")
    fresh = Task.objects.get(name="one")
    assert (fresh.category, fresh.enabled) == ("said", False)
    assert list(TaskChange.objects.first().fields) == ["category"]


def test_an_anchor_given_once_is_not_permanent(db: None, now: datetime) -> None:
    task = register_task("one", "jobs.nothing", Interval(5 * MINUTE, anchor=now))
    register_task("one", "jobs.nothing", Interval(6 * MINUTE, anchor=now))
    task.refresh_from_db()
    assert task.anchor == now
    task.schedule = "every 7 minutes"
    task.save(now=now + MINUTE)
    assert task.anchor == now + MINUTE
