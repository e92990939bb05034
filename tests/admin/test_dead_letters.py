"""The page of failures, grouped by cause, and actions on a group."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from scheduled_tasks import requeue_execution
from scheduled_tasks.admin.dead_letters import groups as groups_module
from scheduled_tasks.models import Execution, Task
from tests.admin.pages import listed, messages, page, shown, text

Make = Callable[..., Any]

A, B = "a" * 32, "b" * 32
HOUR = timedelta(hours=1)


@pytest.fixture
def task(make_task: Make) -> Task:
    return make_task("nightly", "shop.cleanup")


@pytest.fixture
def make_dead(task: Task, make_execution: Make) -> Make:
    """Return a factory for executions that failed for good, with the same cause by default."""

    def make(cause: str = A, task: Task = task, **fields: Any) -> Execution:
        defaults = {"status": "failed", "error": f"Broke {cause[:1]}.", "error_category": "logic"}
        return make_execution(task, **(defaults | fields | {"error_fingerprint": cause}))

    return make


def groups(client: Client) -> Any:
    response = client.get(page("deadletter_changelist"))
    assert response.status_code == 200
    return response.context["groups"]


def answer(client: Client, asked: Any, **fields: str) -> Any:
    """Submit a confirmation page as a browser does."""
    assert asked.status_code == 200
    data = {**asked.context["hidden"], "confirmed": "Go", **fields}
    return client.post(asked.request["PATH_INFO"], data)


def test_the_admin_index_links_to_the_failures(admin_client: Client, db: None) -> None:
    said = text(admin_client.get("/admin/"))
    assert f'<a href="{page("deadletter_changelist")}">Failures</a>' in said
    assert "No unresolved failures." in text(admin_client.get(page("deadletter_changelist")))


def test_failures_are_grouped_by_cause_newest_first(
    admin_client: Client, make_dead: Make, make_task: Make, now: datetime
) -> None:
    other = make_task("another", "shop.plain")
    make_dead(A, finished_at=now - 3 * HOUR)
    make_dead(B)
    newest = make_dead(A, other, finished_at=now - HOUR, error="Broke again.")
    make_dead(A, status="success")
    make_dead(A, test_mode=True)
    make_dead(A, resolved_at=now, resolution="Mended.")
    first, second = groups(admin_client).rows
    assert (first.count, first.error, second.count, second.error) == (
        2,
        "Broke again.",
        1,
        "Broke b.",
    )
    assert (first.category, first.newest_url) == ("logic", page("execution_change", newest.pk))
    assert "3 hours ago" in first.first_seen
    assert "1 hour ago" in first.last_seen
    assert first.tasks.index("another") < first.tasks.index("nightly")
    query = first.all_url.removeprefix(page("execution_changelist"))
    assert len(listed(admin_client, "execution_changelist", query)) == 2


def test_executions_are_filtered_by_unresolved_and_by_cause(
    admin_client: Client, make_dead: Make
) -> None:
    a, b, none = make_dead(A), make_dead(B), make_dead("")
    make_dead(A, status="success")
    assert listed(admin_client, "execution_changelist", "?dead=1") == [str(none), str(b), str(a)]
    assert listed(admin_client, "execution_changelist", f"?cause={A}") == [str(a)]
    assert listed(admin_client, "execution_changelist", "?cause=-") == [str(none)]
    assert f"?cause={A}" in shown(admin_client, a)
    assert "?cause=-" in shown(admin_client, none)
    assert "By cause" not in text(admin_client.get(page("execution_changelist")))


def test_a_whole_group_is_requeued(admin_client: Client, make_dead: Make) -> None:
    rows = [make_dead(A, payload={"days": number}) for number in (1, 2, 3)]
    other = make_dead(B)
    asked = admin_client.get(page("deadletter_requeue", A))
    assert "Requeue 3 failures" in text(asked)
    assert "Broke a." in text(asked)
    requeue_execution(rows[0].pk, by="user:bob")
    later = make_dead(A)
    response = answer(admin_client, asked)
    assert response.url == page("deadletter_changelist")
    assert messages(response) == [
        "2 requeued.",
        "1 had already been resolved or requeued.",
    ]
    assert set(Execution.objects.dead()) == {other, later}
    made = Execution.objects.filter(triggered_by="user:admin").order_by("pk")
    assert [row.payload for row in made] == [{"days": 2}, {"days": 3}]
    assert LogEntry.objects.count() == 2


def test_a_whole_group_is_resolved_with_a_reason(admin_client: Client, make_dead: Make) -> None:
    make_dead(""), make_dead(A)
    asked = admin_client.get(page("deadletter_resolve", "-"))
    assert answer(admin_client, asked).status_code == 200
    assert Execution.objects.dead().count() == 2
    response = answer(admin_client, asked, reason="The switch was broken.")
    assert messages(response) == ["1 resolved."]
    assert Execution.objects.dead().get().error_fingerprint == A


def test_an_empty_group_is_reported(admin_client: Client, db: None) -> None:
    for way in ("requeue", "resolve"):
        response = admin_client.get(page(f"deadletter_{way}", A))
        assert response.url == page("deadletter_changelist")
        assert messages(response)[-1] == "There are no unresolved failures with this cause."


def test_failures_groups_and_tasks_are_limited(
    admin_client: Client, make_dead: Make, make_task: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, number in {"MAX_COUNTED": 4, "MAX_GROUPS": 1, "MAX_TASKS": 2}.items():
        monkeypatch.setattr(groups_module, name, number)
    make_dead(B)
    for number in range(3):
        make_dead(A, make_task(f"task-{number}", "shop.plain"))
    found = groups(admin_client)
    assert (found.limit, found.hidden, len(found.rows)) == (None, 1, 1)
    assert found.rows[0].tasks.endswith(", 1 more")
    make_dead(A, error="x" * 1_000)
    found = groups(admin_client)
    assert (found.limit, found.hidden, found.rows[0].count) == (4, 0, 4)
    assert found.rows[0].error == f"{'x' * 300}…"
    said = text(admin_client.get(page("deadletter_changelist")))
    assert "Only the newest 4 failures are counted." in said


def test_failures_of_deleted_tasks_are_listed(
    admin_client: Client, make_dead: Make, task: Task
) -> None:
    make_dead()
    task.delete()
    assert groups(admin_client).rows[0].tasks == "nightly (deleted)"
