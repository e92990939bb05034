"""Selections of any size: one field, batches with a transaction each, and how far they came."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from scheduled_tasks.admin import bulk, selection
from scheduled_tasks.admin.tasks import bulk_changes
from scheduled_tasks.lifecycle import batches
from scheduled_tasks.models import Execution, Task, TaskState
from tests.admin.pages import act, as_typed, messages, page, say, text

Make = Callable[..., Any]

#: More than DATA_UPLOAD_MAX_NUMBER_FIELDS, and more than two batches.
MANY, SOME = 1_100, 250


@pytest.fixture
def make_many(make_task: Make, now: datetime) -> Callable[[int], list[Task]]:
    def make(count: int) -> list[Task]:
        first = make_task("t0", "shop.plain", "0 2 * * *")
        fields = {"handler": first.handler, "schedule": first.schedule}
        rows = [Task(name=f"t{number}", **fields) for number in range(1, count)]
        Task.objects.bulk_create(rows)
        ids = Task.objects.exclude(pk=first.pk).values_list("pk", flat=True)
        due = first.state.next_run_at
        TaskState.objects.bulk_create(TaskState(task_id=pk, next_run_at=due) for pk in ids)
        return list(Task.objects.order_by("pk"))

    return make


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a batch hold three rows, and a request do one batch."""
    monkeypatch.setattr(batches, "BATCH_SIZE", 3)
    monkeypatch.setattr(bulk, "BATCH_SIZE", 3)
    monkeypatch.setattr(bulk, "MAX_SECONDS", 0.0)


def post(client: Client, view: str, action: str, **fields: Any) -> Any:
    client.cookies.pop("messages", None)
    return client.post(page(view), {"action": action, **fields})


def submit(client: Client, asked: Any, **fields: Any) -> Any:
    """Submit a page with a question, or one that goes on, as a browser does."""
    assert asked.status_code == 200
    client.cookies.pop("messages", None)
    name = asked.context.get("submit_name")
    button = {name: "Go"} if name else {}
    return client.post(asked.request["PATH_INFO"], asked.context["hidden"] | button | fields)


def test_ids_fit_into_one_field() -> None:
    for ids in ([], [1], [1, 2], [3, 1, 2, 7, 9, 10], [*range(1, 50_000), 10**17]):
        assert selection.from_text(selection.as_text(ids)) == sorted(ids)
    assert selection.as_text([3, 1, 2, 7]) == "1-3,7"
    assert len(selection.from_text(f"1-{'9' * 18},5-4")) == selection.MAX_SELECTED
    assert selection.from_text("x,,-,1-,-2, 3,1-x,\u0663,0,0-5") == [1, 3]


@pytest.mark.parametrize(
    ("action", "count", "changed"),
    [
        ("disable", SOME, {"enabled": False}),
        ("enable", SOME, {"enabled": True}),
        ("pause", MANY, {"pause_reason": "It moves."}),
        ("end_pause", SOME, {"paused_until": None}),
        ("reset_to_code", SOME, {"category": "said"}),
    ],
)
def test_every_task_of_a_large_selection_is_changed(  # noqa: PLR0917
    admin_client: Client,
    make_many: Make,
    later: datetime,
    action: str,
    count: int,
    changed: dict[str, Any],
) -> None:
    make_many(count)
    Task.objects.update(
        enabled=action != "enable",
        paused_until=later if action == "end_pause" else None,
        declared={"category": "said"},
    )
    answer = act(admin_client, action, Task.objects.first(), select_across="1")
    if action == "pause":
        assert f"Pause {count} tasks" in text(answer)
        assert len(answer.content) < 50_000
        answer = submit(admin_client, answer, pause_reason="It moves.", **typed(later))
    assert messages(answer)[-1].startswith(f"{count} tasks ")
    assert Task.objects.filter(**changed).count() == count
    assert LogEntry.objects.count() == count


def typed(later: datetime) -> dict[str, str]:
    return as_typed(paused_until=later)


def test_a_large_selection_runs_and_is_deleted(admin_client: Client, make_many: Make) -> None:
    first = make_many(SOME)[0]
    answer = act(admin_client, "run_now", first, select_across="1")
    assert messages(answer) == [f"{SOME} executions queued."]
    assert Execution.objects.queued().count() == SOME
    Task.objects.exclude(name__startswith="t2").delete()
    left = Task.objects.count()
    asked = act(admin_client, "delete_selected", Task.objects.first(), select_across="1")
    assert f"Delete {left} tasks" in text(asked)
    assert messages(submit(admin_client, asked)) == [f"Successfully deleted {left} tasks."]
    assert not Task.objects.exists()


@pytest.mark.parametrize(
    ("action", "count"),
    [("cancel", SOME), ("requeue", SOME), ("resolve", SOME), ("delete_selected", MANY)],
)
def test_every_execution_of_a_large_selection_is_changed(
    admin_client: Client, make_task: Make, action: str, count: int, now: datetime
) -> None:
    task = make_task("a", "shop.plain")
    rows = [Execution.for_task(task, trigger="manual", now=now) for _ in range(count)]
    for row in rows:
        row.status = "queued" if action == "cancel" else "failed"
    Execution.objects.bulk_create(rows)
    first = Execution.objects.latest("pk").pk
    answer = post(
        admin_client,
        "execution_changelist",
        action,
        _selected_action=first,
        select_across="1",
    )
    if action != "requeue":
        assert f" {count} " in answer.context["title"]
        assert len(answer.content) < 50_000
        answer = submit(admin_client, answer, reason="Mended.")
    assert messages(answer)[0].startswith(f"{count} ")
    assert not Execution.objects.filter(pk__lte=first).filter(
        status__in=("queued", "failed"), resolved_at=None
    )


def test_selecting_all_keeps_the_filters(
    admin_client: Client, make_many: Make, make_execution: Make
) -> None:
    _, b, _ = make_many(3)
    Task.objects.filter(pk=b.pk).update(category="mail")
    query = "?category=mail"
    answer = admin_client.post(
        page("task_changelist") + query,
        {"action": "disable", "_selected_action": b.pk, "select_across": "1"},
    )
    assert messages(answer) == ["1 task disabled."]
    assert list(Task.objects.filter(enabled=False)) == [b]


def test_running_executions_are_not_deleted(
    admin_client: Client, make_task: Make, make_execution: Make
) -> None:
    task = make_task("a", "shop.plain")
    running, ended = make_execution(task, status="running"), make_execution(task)
    say(ended, "line")
    ids = [running.pk, ended.pk]
    asked = post(admin_client, "execution_changelist", "delete_selected", _selected_action=ids)
    assert "1 is running and stays." in text(asked)
    assert messages(submit(admin_client, asked)) == [
        "1 execution deleted.",
        "1 is running and was not deleted. Cancel it first.",
    ]
    assert Execution.objects.get() == running
    assert [entry.object_repr for entry in LogEntry.objects.all()] == [f"a #{ended.pk}"]
    assert admin_client.post(page("execution_delete", running.pk)).status_code == 403


@pytest.mark.usefixtures("small_batches")
def test_what_the_time_leaves_is_offered(
    admin_client: Client, make_many: Make, later: datetime
) -> None:
    tasks = make_many(8)
    answer = act(admin_client, "disable", *tasks)
    for left, disabled in ((5, 3), (2, 6)):
        assert f"{left} of {left + 3} are left" in text(answer)
        assert messages(answer)[-1] == "3 tasks disabled."
        assert Task.objects.filter(enabled=False).count() == disabled
        answer = submit(admin_client, answer)
    assert answer.status_code == 302
    assert messages(answer) == ["2 tasks disabled."]
    assert not Task.objects.filter(enabled=True).exists()


@pytest.mark.usefixtures("small_batches")
def test_answers_are_kept_while_it_goes_on(
    admin_client: Client, make_many: Make, make_execution: Make, later: datetime
) -> None:
    tasks = make_many(5)
    asked = act(admin_client, "pause", *tasks)
    answer = submit(admin_client, asked, pause_reason="It moves.", **typed(later))
    answer = submit(admin_client, answer)
    assert answer.status_code == 302
    assert Task.objects.filter(paused_until=later, pause_reason="It moves.").count() == 5

    for _ in range(5):
        make_execution(tasks[0], status="failed")
    answer = submit(admin_client, admin_client.get(page("deadletter_resolve", "-")), reason="Done.")
    assert "2 of 5 are left" in text(answer)
    assert submit(admin_client, answer).status_code == 302
    assert Execution.objects.filter(resolution="Done.").count() == 5


def test_an_error_half_way_tells_how_far(
    admin_client: Client,
    make_many: Make,
    monkeypatch: pytest.MonkeyPatch,
    small_batches: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(bulk, "MAX_SECONDS", 60.0)
    tasks = make_many(8)
    original = bulk_changes.switch_tasks

    def fail_later(ids: list[int], **options: Any) -> Any:
        if tasks[5].pk in ids:
            raise OperationalError("the secret connection was lost")
        return original(ids, **options)

    monkeypatch.setattr(bulk_changes, "switch_tasks", fail_later)
    answer = act(admin_client, "disable", *tasks)
    said = messages(answer)
    assert "Stopped by an error (OperationalError)." in said[0]
    assert said[1:] == ["3 tasks disabled."]
    assert "5 of 8 are left" in text(answer)
    assert "the secret connection was lost" not in text(answer)
    assert "the secret connection was lost" in caplog.text
    monkeypatch.setattr(bulk_changes, "switch_tasks", original)
    assert messages(submit(admin_client, answer)) == ["5 tasks disabled."]


def test_many_refusals_make_a_short_report(admin_client: Client, make_many: Make) -> None:
    tasks = make_many(50)
    Task.objects.exclude(pk=tasks[0].pk).update(handler="shop.gone")
    said = messages(act(admin_client, "run_now", *tasks))
    assert said[-1] == "1 execution queued."
    assert len(said) <= bulk.MAX_WARNINGS + 2


def test_each_step_checks_what_is_posted(staff: Callable[..., Client], make_many: Make) -> None:
    a, _ = make_many(2)
    client = staff("view_task")
    for action in ("disable", "pause", "reset_to_code", "run_now", "delete_selected"):
        posted = {"action": action, "selected": "1-99999", "post": "yes", "pause": "Go"}
        client.post(page("task_changelist"), {**posted, "_selected_action": a.pk})
    assert Task.objects.filter(enabled=True, paused_until=None).count() == 2
    assert not Execution.objects.exists()


@pytest.mark.parametrize("selected", ["abc", "1_2", "9" * 30, "-1", "\0"])
def test_a_selection_that_is_no_number_changes_nothing(
    admin_client: Client, make_many: Make, selected: str
) -> None:
    task = make_many(1)[0]
    posted = {"action": "disable", "_selected_action": [task.pk, selected]}
    answer = admin_client.post(page("task_changelist"), posted)
    assert answer.status_code == 302
    assert messages(answer) == ["The selection was not understood. Nothing has been changed."]
    assert Task.objects.get().enabled


def test_a_disabled_selection_costs_few_statements(admin_client: Client, make_many: Make) -> None:
    make_many(300)
    with CaptureQueriesContext(connection) as captured:
        act(admin_client, "disable", Task.objects.first(), select_across="1")
    assert Task.objects.filter(enabled=False).count() == 300
    assert len(captured) < 100 + 300 * 2 * (connection.vendor != "postgresql")
