"""Code and people edit the same task: who wins which field."""

from __future__ import annotations

from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.core.management.sql import emit_post_migrate_signal

from scheduled_tasks import Cron, Interval, Once, declare, scheduled_task
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.handlers.registry import registry as global_registry
from scheduled_tasks.models import Execution, Task, Worker
from scheduled_tasks.operations.definitions import register_task, unregister_task
from scheduled_tasks.operations.sync import sync
from scheduled_tasks.operations.tasks import disable_task, enable_task
from scheduled_tasks.schedules import Schedule
from scheduled_tasks.worker.scheduler import Scheduler
from tests.support.registries import isolated

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def first_release(registry: HandlerRegistry) -> None:
    declare_cleanup("0 2 * * *")


def declare_cleanup(schedule: Schedule | str, **options: object) -> None:
    @scheduled_task(schedule, **{"name": "shop.cleanup", "queue": "default"} | options)
    def cleanup(*, days: int = 30) -> None:
        """Delete what is old.

        The second paragraph is for programmers.
        """


def release(schedule: Schedule | str = "0 2 * * *", **options: object) -> list[str]:
    """Deploy code that declares cleanup like this, and sync."""
    with isolated(global_registry):
        declare_cleanup(schedule, **options)
        return [str(change) for change in sync()]


def cleanup() -> Task:
    return Task.objects.select_related("state").get(name="shop.cleanup")


def test_a_declaration_becomes_a_row_once() -> None:
    assert [str(change) for change in sync()] == ["create shop.cleanup"]
    task = cleanup()
    assert task.origin == Task.Origin.CODE
    assert (task.schedule, task.timezone) == ("0 2 * * *", "UTC")
    assert task.description == "Delete what is old."
    assert task.state.next_run_at is not None
    assert sync() == []


def test_a_schedule_without_a_zone_has_the_projects(settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Riga"
    sync()
    for schedule in (Cron("0 4 * * *"), Once(datetime(2030, 1, 1, 9)), "0 5 * * *"):
        assert not [line for line in release(schedule) if "timezone" in line]
        assert (cleanup().schedule, cleanup().timezone) == (str(schedule), "Europe/Riga")
        assert release(schedule) == []
    edit(timezone="Asia/Tokyo")
    release(Cron("0 6 * * *"))
    assert (cleanup().schedule, cleanup().timezone) == ("0 6 * * *", "Asia/Tokyo")


def test_a_disabled_task_stays_disabled_over_releases() -> None:
    sync()
    disable_task("shop.cleanup")
    sync()
    release("0 4 * * *", enabled=True)
    assert not cleanup().enabled
    assert cleanup().state.next_run_at is None


def test_an_edited_field_keeps_its_value() -> None:
    sync()
    edit(schedule="30 5 * * *")
    release("0 4 * * *")
    assert cleanup().schedule == "30 5 * * *"
    assert cleanup().changed_from_code == ["schedule"]


def test_a_changed_declaration_arrives_where_nobody_edited() -> None:
    sync()
    edit(category="mine")
    said = release("0 4 * * *", category="theirs", payload={"days": 7})
    task = cleanup()
    assert (task.schedule, task.payload) == ("0 4 * * *", {"days": 7})
    assert task.category == "mine"
    assert said == [
        "update shop.cleanup schedule: '0 2 * * *' -> '0 4 * * *', payload: {} -> {'days': 7}"
    ]
    expected = Cron("0 4 * * *").next_after(task.updated_at)
    assert task.state.next_run_at == expected


def test_limits_follow_the_code_and_people() -> None:
    release(timeout=timedelta(minutes=1), memory_limit_mb=100, executor="process")
    task = cleanup()
    assert (task.timeout, task.memory_limit_mb, task.executor) == (60, 100, "process")
    edit(timeout=5)
    release(memory_limit_mb=200)
    task = cleanup()
    assert (task.timeout, task.memory_limit_mb, task.executor) == (5, 200, "")
    assert task.changed_from_code == ["timeout"]


def test_an_edit_equal_to_a_release_is_forgotten() -> None:
    sync()
    edit(schedule="0 4 * * *")
    release("0 4 * * *")
    assert cleanup().changed_from_code == []
    release("0 5 * * *")
    assert cleanup().schedule == "0 5 * * *"


def test_force_reverts_edits_except_enabled() -> None:
    sync()
    edit(schedule="30 5 * * *")
    disable_task("shop.cleanup")
    assert [change.action for change in sync(force=True)] == ["update"]
    assert cleanup().schedule == "0 2 * * *"
    assert not cleanup().enabled


def test_an_unchanged_interval_keeps_its_phase(now: datetime) -> None:
    release("every 6 hours")
    anchor = cleanup().anchor
    next_run_at = cleanup().state.next_run_at
    release("every 6 hours", category="new")
    assert cleanup().anchor == anchor
    assert cleanup().state.next_run_at == next_run_at


def test_an_anchor_given_in_code_is_the_phase(registry: HandlerRegistry, now: datetime) -> None:
    declare("shop.cleanup", Interval(timedelta(hours=6), anchor=now), name="anchored", payload={})
    sync()
    assert Task.objects.get(name="anchored").anchor == now


def test_an_undeclared_task_is_parked_until_it_returns() -> None:
    sync()
    for trigger in ("schedule", "manual"):
        Execution.for_task(cleanup(), trigger=trigger, now=cleanup().created_at).save()
    with isolated(global_registry):
        assert [change.action for change in sync()] == ["park"]
        assert sync() == []
    state = cleanup().state
    assert state.next_run_at is None
    assert state.parked_reason == "No longer declared in code."
    assert cleanup().enabled
    left = Execution.objects.values_list("trigger", "status", "reason")
    assert set(left) == {("schedule", "skipped", state.parked_reason), ("manual", "queued", "")}
    assert [change.action for change in sync()] == ["unpark"]
    assert cleanup().state.next_run_at is not None


def test_a_task_made_by_hand_is_a_conflict() -> None:
    register_task("shop.cleanup", "shop.cleanup", "every 2 hours")
    [change] = sync()
    assert change.action == "conflict"
    assert cleanup().origin == Task.Origin.API
    assert cleanup().schedule == "every 2 hours"


def test_a_task_keeps_its_name_beside_a_namesake(
    registry: HandlerRegistry,
) -> None:
    def cleanup() -> None: ...

    scheduled_task("0 1 * * *")(cleanup)
    sync()
    assert set(names()) == {"shop.cleanup", "cleanup"}

    def namesake() -> None: ...

    namesake.__name__, namesake.__module__ = "cleanup", "elsewhere.tasks"
    scheduled_task("0 1 * * *")(namesake)
    sync()
    assert names() == {
        "shop.cleanup": "shop.cleanup",
        "cleanup": "tests.cleanup",
        "elsewhere.cleanup": "elsewhere.cleanup",
    }


def test_an_invalid_name_is_made_of_allowed_letters(
    registry: HandlerRegistry,
) -> None:
    def läufe_Über_Nacht() -> None: ...  # noqa: N802, PLC2401

    scheduled_task("0 1 * * *")(läufe_Über_Nacht)
    sync()
    assert "l-ufe_-ber_nacht" in names()
    Task.objects.get(name="l-ufe_-ber_nacht").full_clean()


def test_one_handler_may_serve_several_declared_tasks(registry: HandlerRegistry) -> None:
    declare("shop.cleanup", "0 3 * * *", name="cleanup-week", payload={"days": 7})
    sync()
    assert names() == {"shop.cleanup": "shop.cleanup", "cleanup-week": "shop.cleanup"}
    assert Task.objects.get(name="cleanup-week").payload == {"days": 7}


def test_unregistering_a_declared_task_only_disables_it() -> None:
    sync()
    register_task("by-hand", "shop.cleanup")
    unregister_task("shop.cleanup")
    unregister_task("by-hand")
    assert names() == {"shop.cleanup": "shop.cleanup"}
    assert not cleanup().enabled


def test_migrate_syncs_declarations_unless_told_not_to(
    settings: Any,
) -> None:
    call_command("migrate", verbosity=0)
    assert not Task.objects.exists()
    settings.SCHEDULED_TASKS = {}
    out = StringIO()
    call_command("migrate", stdout=out)
    assert "scheduled task: create shop.cleanup" in out.getvalue()
    assert names() == {"shop.cleanup": "shop.cleanup"}


def test_a_flush_leaves_the_tables_empty(settings: Any) -> None:
    settings.SCHEDULED_TASKS = {}
    emit_post_migrate_signal(verbosity=0, interactive=False, db="default")
    assert not Task.objects.exists()


def test_a_task_made_without_its_clock_gets_one(registry: HandlerRegistry) -> None:
    Task.objects.bulk_create([Task(name="bulk", handler="shop.cleanup", schedule="@daily")])
    sync()
    assert Task.objects.get(name="bulk").state.next_run_at is not None


def test_a_dry_run_tells_changes_without_making_them() -> None:
    assert [change.action for change in sync(dry_run=True)] == ["create"]
    assert not Task.objects.exists()


def test_old_code_does_not_overwrite_newer_code(now: datetime) -> None:
    old_digest = global_registry.digest
    announce(old_digest, now - timedelta(hours=2), state=Worker.State.STOPPED)
    with isolated(global_registry):
        declare_cleanup("0 4 * * *")
        sync()
        newer = announce(global_registry.digest, now)
    restarted = Scheduler(worker_name="old code, restarted")
    restarted.tick(now)
    assert cleanup().schedule == "0 4 * * *"
    newer.move_to(Worker.State.STOPPED)
    restarted.tick(now + timedelta(seconds=5))
    assert cleanup().schedule == "0 2 * * *"


def test_check_fails_until_the_tasks_are_synced() -> None:
    with pytest.raises(CommandError, match=r"create shop\.cleanup"):
        call_command("synctasks", check=True)
    out = StringIO()
    call_command("synctasks", stdout=out)
    assert out.getvalue() == "create shop.cleanup\n"
    call_command("synctasks", check=True, stdout=out)
    assert out.getvalue().endswith("All tasks match the code.\n")


def test_enabling_restarts_the_clock_from_now(registry: HandlerRegistry) -> None:
    release("every 1 second")
    disable_task("shop.cleanup")
    Task.objects.update(updated_at=cleanup().updated_at - timedelta(days=1))
    task = enable_task("shop.cleanup")
    assert task.state.next_run_at > task.updated_at - timedelta(seconds=1)


def edit(**fields: object) -> None:
    task = cleanup()
    for name, value in fields.items():
        setattr(task, name, value)
    task.validate()
    task.save()


def names() -> dict[str, str]:
    return dict(Task.objects.values_list("name", "handler"))


def announce(digest: str, at: datetime, *, state: str = Worker.State.RUNNING) -> Worker:
    return Worker.objects.create(
        label="x",
        host="h",
        pid=1,
        declaration_digest=digest,
        started_at=at,
        heartbeat_at=at,
        state=state,
    )


def test_declare_does_not_take_a_decorated_task() -> None:
    with isolated(global_registry):

        @scheduled_task("0 3 * * *")
        def purge() -> None: ...

        key = next(iter(global_registry.handlers))
        sync()
        declare(key, "0 4 * * *", name="purge", category="other")
        assert [change.action for change in sync() if change.task == "purge"] == ["conflict"]
    task = Task.objects.get(name="purge")
    assert (task.schedule, task.category) == ("0 3 * * *", "")
