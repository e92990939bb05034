"""Cancelling, requeueing and resolving executions, from the list and from the page of one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from scheduled_tasks import requeue_execution, resolve_execution, run_task_now, scheduled_task
from scheduled_tasks.admin import selection
from scheduled_tasks.admin.executions.requeue_page import RequeuePage
from scheduled_tasks.models import Execution, Task
from scheduled_tasks.operations.executions import cancel_execution
from tests.admin.pages import change, messages, page, shown, text

Make = Callable[..., Any]

BUTTONS = ("Cancel…", "Requeue</button>", "Requeue with another payload…", "Resolve…")
ALREADY_SETTLED = "had already been resolved or requeued."


@pytest.fixture
def task(make_task: Make) -> Task:
    return make_task("nightly", "shop.cleanup")


@pytest.fixture
def make_dead(task: Task, make_execution: Make) -> Make:
    """Return a factory for executions that failed for good."""

    def make(**fields: Any) -> Execution:
        return make_execution(task, **({"status": "failed", "error": "It broke."} | fields))

    return make


def fresh(row: Execution) -> Execution:
    return Execution.objects.get(pk=row.pk)


def act(client: Client, action: str, *rows: Execution, query: str = "", **fields: Any) -> Any:
    """Run an action of the list on the given executions."""
    data = {"action": action, "_selected_action": [row.pk for row in rows], **fields}
    client.cookies.pop("messages", None)
    return client.post(page("execution_changelist") + query, data)


def answer(client: Client, asked: Any, reason: str = "", query: str = "") -> Any:
    """Submit a confirmation page as a browser does."""
    assert asked.status_code == 200
    data = {**asked.context["hidden"], "confirmed": "Go", "reason": reason}
    client.cookies.pop("messages", None)
    return client.post(asked.request["PATH_INFO"] + query, data)


def log() -> list[str]:
    return [entry.change_message for entry in LogEntry.objects.order_by("pk")]


def offered(client: Client, row: Execution) -> list[str]:
    said = shown(client, row)
    return [label for label in BUTTONS if label in said]


def test_selected_failures_are_requeued(admin_client: Client, make_dead: Make) -> None:
    rows = [make_dead() for _ in range(5)]
    for row in rows[:2]:
        requeue_execution(row.pk, by="user:bob")
    response = act(admin_client, "requeue", *rows)
    assert messages(response) == ["3 requeued.", f"2 {ALREADY_SETTLED}"]
    made = Execution.objects.filter(triggered_by="user:admin")
    assert sorted(row.requeue_of_id for row in made) == [row.pk for row in rows[2:]]
    assert fresh(rows[4]).resolved_by == "user:admin"
    assert log() == ["Requeued."] * 3


def test_a_stale_list_reports_what_was_already_settled(
    admin_client: Client, make_dead: Make
) -> None:
    rows = [make_dead(), make_dead()]
    requeue_execution(rows[0].pk)
    response = act(admin_client, "requeue", *rows, query="?dead=1")
    assert messages(response) == ["1 requeued.", f"1 {ALREADY_SETTLED}"]


def test_refused_requeues_are_counted_by_reason(
    admin_client: Client, make_dead: Make, make_task: Make, make_execution: Make
) -> None:
    deleted = make_task("deleted", "shop.plain")
    rows = [
        make_dead(status="success"),
        make_dead(test_mode=True),
        make_execution(deleted, status="failed"),
        make_dead(payload={"gone": 1}),
        make_dead(handler="shop.gone"),
        make_dead(),
    ]
    deleted.delete()
    Execution.objects.filter(pk=rows[5].pk).delete()
    said = messages(act(admin_client, "requeue", *rows))
    assert said[0] == "0 requeued."
    expected = (
        "1 cannot be requeued because its task was deleted. Resolve it instead.",
        "1 failed in test mode, so there is nothing to resolve.",
        "1 has been deleted.",
        "1 has not failed.",
        "1 was refused: No handler is called 'shop.gone'.",
        "1 was refused: gone: unknown argument",
    )
    for told, beginning in zip(sorted(said[1:]), expected, strict=True):
        assert told.startswith(beginning)


def test_selected_failures_are_resolved_with_a_reason(
    admin_client: Client, make_dead: Make
) -> None:
    rows = [make_dead() for _ in range(3)]
    asked = act(admin_client, "resolve", *rows)
    assert "Resolve 3 failures" in text(asked)
    assert f"nightly #{rows[0].pk}" in text(asked)
    refused = answer(admin_client, asked)
    assert refused.context["form"].errors == {"reason": ["This field is required."]}
    assert Execution.objects.dead().count() == 3
    resolve_execution(rows[0].pk, "Mended.", by="user:bob")
    response = answer(admin_client, asked, "Sent by hand.")
    assert response.url == page("execution_changelist")
    assert messages(response) == ["2 resolved.", f"1 {ALREADY_SETTLED}"]
    assert (fresh(rows[2]).resolution, fresh(rows[2]).resolved_by) == (
        "Sent by hand.",
        "user:admin",
    )
    assert fresh(rows[0]).resolved_by == "user:bob"
    assert log() == ["Resolved: Sent by hand."] * 2


def test_a_logged_reason_is_redacted(admin_client: Client, make_dead: Make) -> None:
    row = make_dead()
    reason = {"confirmed": "Go", "reason": "api_key=hunter2xyz"}
    admin_client.post(page("execution_resolve", row.pk), reason)
    assert fresh(row).resolution == "api_key=[redacted]"
    assert log() == ["Resolved: api_key=[redacted]"]


def test_selected_executions_are_cancelled(
    admin_client: Client, task: Task, make_execution: Make, now: datetime
) -> None:
    queued, other = run_task_now(task), run_task_now(task)
    running = make_execution(task, status="running", finished_at=None)
    stopping = make_execution(task, status="running", finished_at=None, cancel_requested_at=now)
    ended = make_execution(task)
    asked = act(admin_client, "cancel", queued, other, running, stopping, ended)
    assert "Cancel 5 executions" in text(asked)
    cancel_execution(other.pk, by="user:bob")
    response = answer(admin_client, asked, "Not today.")
    said = messages(response)
    assert said[0] == "2 cancelled."
    assert sorted(said[1:]) == ["1 had already been asked to stop.", "2 had already finished."]
    why = "Cancelled by user:admin: Not today."
    assert (fresh(queued).status, fresh(queued).reason) == ("cancelled", why)
    assert (fresh(running).cancel_requested_at, fresh(running).reason) == (now, why)
    assert fresh(other).reason == "Cancelled by user:bob."
    assert log() == ["Cancelled: Not today."] * 2


def test_select_all_is_limited(
    admin_client: Client, make_dead: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "MAX_SELECTED", 3)
    rows = [make_dead() for _ in range(5)]
    asked = act(admin_client, "resolve", rows[0], query="?dead=1", select_across="1")
    assert messages(asked) == ["More than 3 are selected. Only the newest 3 are included."]
    later = make_dead()
    response = answer(admin_client, asked, "Mended.", query="?dead=1")
    assert messages(response) == ["3 resolved."]
    assert set(Execution.objects.dead()) == {*rows[:2], later}


def test_invalid_ids_select_nothing(admin_client: Client, make_dead: Make) -> None:
    row = make_dead()
    response = act(admin_client, "requeue", row, selected=f"x,,{'9' * 30}, {row.pk}")
    assert messages(response) == ["0 requeued."]
    assert fresh(row).dead


def test_buttons_are_shown_where_they_apply(
    admin_client: Client, task: Task, make_dead: Make, now: datetime
) -> None:
    dead = make_dead()
    assert offered(admin_client, dead) == list(BUTTONS[1:])
    assert "Failures with the same cause" in shown(admin_client, dead)
    queued = run_task_now(task)
    assert offered(admin_client, queued) == ["Cancel…"]
    change(queued, status="running", cancel_requested_at=now)
    for settled in (queued, make_dead(status="success"), make_dead(test_mode=True)):
        assert offered(admin_client, settled) == []
    task.delete()
    assert offered(admin_client, dead) == ["Resolve…"]


def test_a_requeue_and_its_failure_are_linked(admin_client: Client, make_dead: Make) -> None:
    row = make_dead(payload={"days": 7})
    response = admin_client.post(page("execution_requeue", row.pk))
    again = Execution.objects.get(requeue_of=row)
    assert response.url == page("execution_change", again.pk)
    assert messages(response) == [
        f"Queued as execution #{again.pk}. It runs as soon as a worker is free."
    ]
    assert (again.payload, again.triggered_by) == ({"days": 7}, "user:admin")
    assert log() == [f"Requeued as #{again.pk}."]
    failed = shown(admin_client, row)
    assert f'href="{page("execution_change", again.pk)}"' in failed
    assert "by user:admin" in failed
    assert f'href="{page("execution_change", row.pk)}"' in shown(admin_client, again)


def test_get_requests_change_nothing(admin_client: Client, make_dead: Make, task: Task) -> None:
    dead, queued = make_dead(), run_task_now(task)
    assert admin_client.get(page("execution_requeue", dead.pk)).status_code == 405
    for view, row in [("cancel", queued), ("resolve", dead), ("requeue_payload", dead)]:
        assert admin_client.get(page(f"execution_{view}", row.pk)).status_code == 200
    assert fresh(dead).dead
    assert fresh(queued).may_be_cancelled
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_client.get(page("execution_changelist")).context["user"])
    for view, row in [("requeue", dead), ("cancel", queued), ("resolve", dead)]:
        data = {"confirmed": "Go", "reason": "Mended."}
        assert client.post(page(f"execution_{view}", row.pk), data).status_code == 403
    assert fresh(dead).dead


def test_one_failure_is_requeued_with_another_payload(
    admin_client: Client, make_dead: Make
) -> None:
    row = make_dead(payload={"days": 7})
    url = page("execution_requeue_payload", row.pk)
    asked = admin_client.get(url)
    assert "Requeue nightly" in text(asked)
    assert 'value="7"' in text(asked)
    refused = admin_client.post(url, {"payload-days": "many"})
    assert list(refused.context["form"].errors) == ["days"]
    response = admin_client.post(url, {"payload-days": "8", "payload-kind": "all"})
    again = Execution.objects.get(requeue_of=row)
    assert again.payload == {"days": 8, "kind": "all"}
    assert response.url == page("execution_change", again.pk)
    late = admin_client.post(url, {"payload-days": "9"})
    assert late.url == page("execution_change", row.pk)
    assert (
        f"was resolved by user:admin at 2026-03-01 12:00:00 UTC: Requeued as #{again.pk}."
        in (messages(late)[-1])
    )
    assert Execution.objects.count() == 2


def test_a_user_overtaken_while_typing_is_told(
    admin_client: Client, make_dead: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = make_dead()
    form = RequeuePage.form

    def overtaken(*args: Any, **options: Any) -> Any:
        resolve_execution(row.pk, "Mended.", by="user:bob")
        return form(*args, **options)

    monkeypatch.setattr(RequeuePage, "form", overtaken)
    late = admin_client.post(page("execution_requeue_payload", row.pk), {"payload-days": "9"})
    assert "was resolved by user:bob" in messages(late)[-1]


def test_an_unknown_handler_is_refused(admin_client: Client, make_dead: Make) -> None:
    row = make_dead(handler="shop.gone")
    for response in (
        admin_client.get(page("execution_requeue_payload", row.pk)),
        admin_client.post(page("execution_requeue", row.pk)),
    ):
        assert response.url == page("execution_change", row.pk)
        assert "No handler is called 'shop.gone'." in messages(response)[-1]
    assert fresh(row).dead


def test_an_invalid_payload_links_to_the_form(admin_client: Client, make_dead: Make) -> None:
    row = make_dead(payload={"gone": 1})
    said = messages(admin_client.post(page("execution_requeue", row.pk)))[-1]
    assert "gone: unknown argument" in said
    assert f'<a href="{page("execution_requeue_payload", row.pk)}">' in said


def test_a_late_resolver_is_told_who_was_first(admin_client: Client, make_dead: Make) -> None:
    row = make_dead()
    url = page("execution_resolve", row.pk)
    data = {"confirmed": "Resolve", "reason": "Sent by hand."}
    response = admin_client.post(url, data)
    assert (response.url, messages(response)) == (page("execution_change", row.pk), ["Resolved."])
    assert fresh(row).resolution == "Sent by hand."
    assert log() == ["Resolved: Sent by hand."]
    said = messages(admin_client.post(url, data))[-1]
    assert "was resolved by user:admin at 2026-03-01 12:00:00 UTC: Sent by hand." in said
    assert len(log()) == 1


def test_the_second_to_cancel_is_told(admin_client: Client, task: Task) -> None:
    queued, running = run_task_now(task), run_task_now(task)
    change(running, status="running")
    data = {"confirmed": "Cancel", "reason": ""}
    response = admin_client.post(page("execution_cancel", queued.pk), data)
    assert messages(response) == ["Cancelled."]
    assert fresh(queued).reason == "Cancelled by user:admin."
    said = messages(admin_client.post(page("execution_cancel", running.pk), data))
    assert said[-1] == "Asked to stop."
    said = messages(admin_client.post(page("execution_cancel", queued.pk), data))
    assert said[-1] == f"Execution {queued.pk} of 'nightly' has already finished (cancelled)."


def test_an_unknown_execution_is_not_found(admin_client: Client) -> None:
    for view in ("cancel", "requeue", "requeue_payload", "resolve"):
        assert admin_client.post(page(f"execution_{view}", 4711)).status_code == 404


def test_a_handler_without_arguments_needs_only_a_click(
    admin_client: Client, make_execution: Make, make_task: Make
) -> None:
    @scheduled_task(name="shop.bare")
    def bare() -> None: ...

    row = make_execution(make_task("bare", "shop.bare"), status="failed")
    url = page("execution_requeue_payload", row.pk)
    assert "This task takes no arguments." in text(admin_client.get(url))
    assert admin_client.post(url).status_code == 302
    assert not fresh(row).dead
