"""Hostile content is shown as text, under a strict Content-Security-Policy."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.test import Client

from scheduled_tasks import scheduled_task
from scheduled_tasks.lifecycle.changes import record_change
from scheduled_tasks.lifecycle.parking import park
from scheduled_tasks.lifecycle.pausing import begin_pause
from scheduled_tasks.models import Attempt, Pause, Task, TaskChange, TaskState
from tests.admin.pages import act, page, sent_of, text

pytestmark = pytest.mark.any_database

Make = Callable[..., Any]

SCRIPT = "<script>alert(1)</script>"
INLINE = re.compile(
    r"<style|\sstyle=|\son[a-z]+=|javascript:|<script(?![^>]*\ssrc=)", re.IGNORECASE
)


@pytest.fixture
def pages(  # noqa: PLR0917
    admin_client: Client,
    make_task: Make,
    make_execution: Make,
    make_worker: Make,
    make_alert: Make,
    make_window: Make,
    now: datetime,
    later: datetime,
) -> dict[str, str]:
    """Return every page, with a script in every column that can hold one."""
    task = make_task("evil", "shop.cleanup", "0 2 * * *", description=SCRIPT, category=SCRIPT)
    Task.objects.filter(pk=task.pk).update(
        schedule=SCRIPT, timezone=SCRIPT, queue=SCRIPT, payload={SCRIPT: SCRIPT}
    )
    park(make_task("parked", "shop.cleanup").state, SCRIPT, now, using="default")
    TaskState.objects.filter(pk=task.pk).update(last_status=SCRIPT[:10], last_run_at=now)
    fields = dict.fromkeys(
        ("task_name", "handler", "queue", "triggered_by", "worker_label", "reason"), SCRIPT
    ) | dict.fromkeys(("error", "traceback"), SCRIPT * 3)
    execution = make_execution(
        task,
        payload={SCRIPT: SCRIPT},
        result=[SCRIPT],
        checkpoint={SCRIPT: SCRIPT},
        progress={"done": SCRIPT, "total": SCRIPT, "text": SCRIPT},
        error_category=SCRIPT[:20],
        **fields,
    )
    Attempt.objects.create(
        execution=execution,
        number=1,
        outcome=SCRIPT[:10],
        worker_label=SCRIPT,
        finished_at=now,
        error_category=SCRIPT[:20],
        error=SCRIPT,
        traceback=SCRIPT,
    )
    failed = make_execution(
        task,
        status="failed",
        payload={"days": SCRIPT},
        resolved_at=None,
        error_category=SCRIPT[:20],
        **fields | {"handler": "shop.cleanup"},
    )
    resolved = make_execution(
        task, status="failed", resolved_at=now, resolution=SCRIPT, resolved_by=SCRIPT
    )
    begin_pause(now, reason=SCRIPT, by=SCRIPT)
    paused = make_task("paused", "shop.plain", "0 2 * * *", paused_until=later)
    Task.objects.filter(pk=paused.pk).update(pause_reason=SCRIPT)
    record_change(
        paused, "changed", now, fields={SCRIPT: (SCRIPT, [SCRIPT])}, by=SCRIPT, using="default"
    )
    change = TaskChange.objects.first()
    execution.log_lines.create(attempt=1, logged_at=now, level=20, logger=SCRIPT, message=SCRIPT)
    worker = make_worker(SCRIPT, host=SCRIPT, queues=[SCRIPT], handlers=[SCRIPT])
    parked = Task.objects.get(name="parked")
    alert = make_alert(
        task,
        task_name=SCRIPT,
        subject=SCRIPT,
        message=SCRIPT,
        details={SCRIPT: SCRIPT},
        cleared_at=now,
        cleared_because=SCRIPT,
        execution_id=execution.pk,
    )
    sent_of(alert, target=SCRIPT, error=SCRIPT)
    window = make_window(task=task, reason=SCRIPT, created_by=SCRIPT)
    past = make_window(ends_at=now, reason=SCRIPT, created_by=SCRIPT)
    urls = {
        "tasks": page("task_changelist"),
        "task": page("task_change", task.pk),
        "parked": page("task_change", parked.pk),
        "paused": page("task_change", paused.pk),
        "add": page("task_add"),
        "run": page("task_run", task.pk),
        "executions": page("execution_changelist"),
        "of one task": page("execution_changelist") + f"?task={task.pk}",
        "execution": page("execution_change", execution.pk),
        "failed": page("execution_change", failed.pk),
        "resolved": page("execution_change", resolved.pk),
        "requeueing": page("execution_requeue_payload", failed.pk),
        "resolving": page("execution_resolve", failed.pk),
        "cancelling": page("execution_cancel", execution.pk),
        "dead letters": page("deadletter_changelist"),
        "requeueing a group": page("deadletter_requeue", "-"),
        "resolving a group": page("deadletter_resolve", "-"),
        "workers": page("worker_changelist"),
        "worker": page("worker_change", worker.pk),
        "pauses": page("pause_changelist"),
        "pause": page("pause_change", Pause.objects.get().pk),
        "pausing": page("pause_add"),
        "changes": page("taskchange_changelist"),
        "change": page("taskchange_change", change.pk),
        "alerts": page("alert_changelist"),
        "alert": page("alert_change", alert.pk),
        "testing": page("alert_test"),
        "windows": page("maintenancewindow_changelist"),
        "window": page("maintenancewindow_change", window.pk),
        "past window": page("maintenancewindow_change", past.pk),
        "planning": page("maintenancewindow_add"),
    }
    answers = {name: admin_client.get(url) for name, url in urls.items()}
    answers["pausing tasks"] = act(admin_client, "pause", task, paused)
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(
        answers, 200
    )
    return {name: text(answer) for name, answer in answers.items()}


def test_scripts_are_shown_as_text(pages: dict[str, str]) -> None:
    for name, said in pages.items():
        assert "<script>alert" not in said, name
    for name in set(pages) - {"add", "pausing", "pausing tasks", "testing", "planning"}:
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in pages[name], name


def test_nothing_is_inline(pages: dict[str, str]) -> None:
    for name, said in pages.items():
        assert not INLINE.findall(said), name


def test_defaults_of_handlers_are_shown_as_text(admin_client: Client, make_task: Make) -> None:
    @scheduled_task(name="shop.page")
    def make_page(*, body: str = SCRIPT) -> None: ...

    said = text(admin_client.get(page("task_run", make_task("page", "shop.page").pk)))
    assert "<script>alert" not in said
    assert "Default: &lt;script&gt;" in said


def test_messages_about_executions_show_scripts_as_text(
    admin_client: Client, make_task: Make, make_execution: Make
) -> None:
    execution = make_execution(
        make_task("evil", "shop.cleanup"), status="failed", payload={SCRIPT: 1}, task_name=SCRIPT
    )
    admin_client.post(page("execution_requeue", execution.pk))
    selected = {"action": "requeue", "_selected_action": [execution.pk]}
    admin_client.post(page("execution_changelist"), selected)
    resolved = {"confirmed": "Go", "reason": SCRIPT}
    for _ in range(2):
        admin_client.post(page("execution_resolve", execution.pk), resolved)
    said = text(admin_client.get(page("execution_changelist")))
    assert "<script>alert" not in said
    for part in (": unknown argument", "Requeue", "&lt;/script&gt;"):
        assert part in said


def test_messages_show_scripts_as_text(admin_client: Client, make_task: Make) -> None:
    task = make_task("evil", "shop.cleanup")
    Task.objects.update(payload={"days": SCRIPT}, handler=SCRIPT)
    act(admin_client, "run_now", task)
    Task.objects.update(payload={SCRIPT: 1}, handler="shop.cleanup")
    admin_client.post(page("task_changelist"), {"action": "run_now", "_selected_action": [task.pk]})
    said = text(admin_client.get(page("task_changelist")))
    assert "<script>alert" not in said
    assert "No handler is called &#x27;&lt;script&gt;" in said
    assert "&lt;script&gt;alert(1)&lt;/script&gt;: unknown argument" in said
