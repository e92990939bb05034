"""An edit of many tasks follows the rules of an edit of one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from scheduled_tasks.exceptions import InvalidSchedule
from scheduled_tasks.lifecycle.bulk_editing import edit_tasks
from scheduled_tasks.lifecycle.parking import park
from scheduled_tasks.models import Execution, Task, TaskChange, TaskState
from scheduled_tasks.models.task_state import UNDECLARED

pytestmark = pytest.mark.django_db

Make = Callable[..., Task]

CHANGES: dict[str, dict[str, Any]] = {
    "disabled": {"enabled": False},
    "enabled": {"enabled": True},
    "schedule": {"schedule": "every 10 minutes"},
    "priority": {"priority": 7, "payload": {"shop": "x"}},
    "paused": {"paused_until": datetime.fromisoformat("2026-03-02T00:00:00+00:00")},
}


@pytest.fixture
def tasks(make_task: Make, now: datetime) -> Callable[[str], list[Task]]:
    """Return a factory for tasks in every situation, with names that end alike."""

    def make(ending: str) -> list[Task]:
        def task(name: str, schedule: str = "0 2 * * *", **fields: Any) -> Task:
            return make_task(f"{name}-{ending}", "cleanup", schedule, **fields)

        overdue, waiting = task("overdue", "every 1 minute"), task("waiting")
        TaskState.objects.filter(pk=overdue.pk).update(next_run_at=now - timedelta(minutes=90))
        parked, gone = task("parked"), task("gone")
        park(parked.state, "It was odd.", now, using="default")
        park(gone.state, UNDECLARED, now, using="default")
        for trigger, attempt in (("schedule", 0), ("schedule", 2), ("manual", 0)):
            row = Execution.for_task(waiting, trigger=trigger, now=now)
            row.attempt = attempt
            row.save()
        rest = [task("off", enabled=False), task("manual", ""), task("interval", "every 1 hour")]
        return [overdue, waiting, parked, gone, *rest]

    return make


def outcome(ending: str) -> dict[str, Any]:
    """Return all that is known of the tasks with this ending, without ids."""
    found: dict[str, Any] = {}
    for task in Task.objects.filter(name__endswith=f"-{ending}").select_related("state"):
        name = task.name.removesuffix(ending)
        columns = ("enabled", "schedule", "anchor", "priority", "payload", "paused_until")
        state = task.state
        covering = Execution.objects.filter(pk=state.covering).values_list("slot", flat=True)
        found[name] = {
            "task": [getattr(task, column) for column in columns],
            "state": [state.next_run_at, state.last_slot, state.parked_at, state.parked_reason],
            "covering": list(covering),
            "executions": list(
                task.executions.order_by("pk").values_list(
                    "status", "trigger", "slot", "slots", "reason", "finished_at", "attempt"
                )
            ),
            "changes": list(
                TaskChange.objects.filter(task=task)
                .order_by("pk")
                .values_list("action", "changed_by", "reason", "fields", "changed_at")
            )[1:],
        }
    return found


@pytest.mark.parametrize("change", CHANGES)
def test_many_edits_come_out_like_single_ones(
    tasks: Callable[[str], list[Task]], now: datetime, change: str
) -> None:
    fields = CHANGES[change]

    def set_fields(task: Task) -> list[str]:
        changed = [name for name, value in fields.items() if getattr(task, name) != value]
        for name in changed:
            setattr(task, name, fields[name])
        return changed

    for task in tasks("single"):
        if changed := set_fields(task):
            task.save(update_fields=changed, now=now, by="user:ada")
    edits = edit_tasks([task.pk for task in tasks("bulk")], set_fields, now, by="user:ada")
    assert outcome("single") == outcome("bulk")
    recorded = TaskChange.objects.filter(task_name__endswith="bulk", action="changed")
    assert len(edits.done) == recorded.count()


def test_a_task_that_refuses_stops_no_other(make_task: Make, now: datetime) -> None:
    a, b = make_task("a", "cleanup"), make_task("b", "cleanup")

    def change(task: Task) -> tuple[str, ...]:
        task.schedule = "nonsense" if task == a else "0 3 * * *"
        return ("schedule",)

    edits = edit_tasks([a.pk, b.pk], change, now, by="x")
    [(refused, error)] = edits.refused
    assert (refused, type(error)) == (a, InvalidSchedule)
    assert [edit.task for edit in edits.done] == [b]
    assert list(Task.objects.values_list("schedule", flat=True)) == ["", "0 3 * * *"]


def test_only_what_differs_is_written(make_task: Make, now: datetime) -> None:
    a, b = make_task("a", "cleanup"), make_task("b", "cleanup", category="mail")
    before = {task.pk: task.updated_at for task in Task.objects.all()}

    def change(task: Task) -> tuple[str, ...]:
        # Another transaction has changed a field that this edit does not.
        Task.objects.filter(pk=task.pk).update(queue="slow")
        task.category = "mail"
        return ("category",)

    edits = edit_tasks([a.pk, b.pk, 10**6], change, now, by="x")
    assert [(edit.task, edit.fields) for edit in edits.done] == [(a, ("category",))]
    assert set(Task.objects.values_list("category", "queue")) == {("mail", "slow")}
    assert Task.objects.get(name="b").updated_at == before[b.pk]


def test_states_are_locked_in_ascending_order_first(make_task: Make, now: datetime) -> None:
    ids = [make_task(f"t{number}", "cleanup", "0 2 * * *").pk for number in range(3)]

    def disable(task: Task) -> tuple[str, ...]:
        task.enabled = False
        return ("enabled",)

    with CaptureQueriesContext(connection) as captured:
        edit_tasks(reversed(ids), disable, now, by="x")  # type: ignore[arg-type]
    reads = [query["sql"] for query in captured if query["sql"].startswith("SELECT")]
    about = next(sql for sql in reads if "scheduled_tasks_task" in sql)
    assert '"scheduled_tasks_taskstate"' in about
    assert 'ORDER BY "scheduled_tasks_taskstate"."task_id" ASC' in about
    assert not TaskState.objects.exclude(next_run_at=None).exists()
