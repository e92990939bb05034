"""Secrets stand in no page, message or log entry that people read who may not edit them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

import pytest
from django import forms
from django.contrib.admin.models import LogEntry
from django.test import Client

from scheduled_tasks import pause_task, scheduled_task
from scheduled_tasks.models import Execution, Pause, Task, TaskChange
from tests.admin.pages import act, as_typed, change, messages, page, task_data, text

pytestmark = pytest.mark.any_database

Make = Callable[..., Any]
Staff = Callable[..., Client]

SECRET, MARK = "hunter2xyz", "[redacted]"
REASON = f"The key moves: api_key={SECRET}"
SHOWN = f"The key moves: api_key={MARK}"
PAYLOAD: dict[str, Any] = {
    "password": SECRET,
    "pin_secret": 12345678,
    "token": "hunter2xyz-b",
    "options": {"password": SECRET, "shop": "x", "urls": [f"https://u:{SECRET}@h/"]},
    "days": 7,
    "more_token": SECRET,
}


@pytest.fixture
def task(make_task: Make) -> Task:
    @scheduled_task(name="shop.secretive")
    def secretive(
        *,
        password: str = "from-code-hunter2xyz",
        pin_secret: int = 87654321,
        token: Literal["hunter2xyz-a", "hunter2xyz-b"] = "hunter2xyz-a",
        options: dict | None = None,  # type: ignore[type-arg]
        days: int = 3,
        **more: str,
    ) -> None: ...

    task: Task = make_task("secretive", "shop.secretive", payload=PAYLOAD)
    return task


def values(form: Any) -> dict[str, str]:
    """Return what a browser posts for the form as it is shown."""
    return {field.html_name: str(field.value() or "") for field in form}


def assert_none(said: str) -> None:
    for secret in (SECRET, "12345678", "87654321"):
        # The choices that a handler offers are code, and all of them are shown.
        assert secret not in said.replace("hunter2xyz-a", "").replace("hunter2xyz-b", "")


def test_forms_keep_secrets_that_they_do_not_show(staff: Staff, task: Task) -> None:
    client = staff("view_task", "run_task")
    asked = client.get(page("task_run", task.pk))
    assert_none(text(asked))
    posted = values(asked.context["form"])
    client.post(page("task_run", task.pk), posted)
    assert Execution.objects.get().payload == PAYLOAD
    edited = posted["payload-options"].replace('"x"', '"y"')
    new = {"payload-options": edited, "payload-password": "new", "payload-days": "9"}
    client.post(page("task_run", task.pk), posted | new)
    options = PAYLOAD["options"] | {"shop": "y"}
    expected = PAYLOAD | {"options": options, "password": "new", "days": 9}
    assert Execution.objects.latest("pk").payload == expected
    client.post(page("task_run", task.pk), posted | {"payload-pin_secret": ""})
    assert "pin_secret" not in Execution.objects.latest("pk").payload


def test_no_form_shows_a_moved_secret(staff: Staff, make_task: Make) -> None:
    @scheduled_task(name="shop.moving")
    def moving(*, name: str, value: str, options: list[str], more: dict[str, str]) -> None: ...

    payload = {"name": "DB_PASSWORD", "value": SECRET, "options": ["--password", SECRET]}
    payload["more"] = {"key": "api_key", "value": SECRET}
    task = make_task("moving", "shop.moving", payload=payload)
    client = staff("view_task", "run_task")
    asked = client.get(page("task_run", task.pk))
    assert_none(text(asked))
    posted = values(asked.context["form"])
    for name, old, new in (
        ("name", "DB_PASSWORD", "shop"),
        ("options", "--password", "--shop"),
        ("more", "api_key", "shop"),
    ):
        field = f"payload-{name}"
        moved = posted | {field: posted[field].replace(old, new)}
        answer = client.post(page("task_run", task.pk), moved)
        assert "A masked value stays what it is only next to its name" in text(answer)
        assert_none(text(answer))
    assert not Execution.objects.exists()
    client.post(page("task_run", task.pk), posted)
    assert Execution.objects.get().payload == payload


def test_no_mask_is_queued_as_a_secret(
    admin_client: Client, make_task: Make, make_execution: Make
) -> None:
    @scheduled_task(name="shop.dumping")
    def dumping(*, url: str, args: list[str]) -> None: ...

    payload = {"url": f"postgres://u:{SECRET}@old/x", "args": ["--password", SECRET]}
    task = make_task("dumping", "shop.dumping", payload=payload)
    failed = make_execution(task, status="failed", payload=payload)
    where = page("execution_requeue_payload", failed.pk)
    shown = values(admin_client.get(where).context["form"])
    longer = shown | {"payload-args": f'["--password", "{MARK}", "-v"]'}
    moved = longer | {"payload-url": f"postgres://u:{MARK}@new/x"}
    errors = admin_client.post(where, moved).context["form"].errors
    assert list(errors) == ["url"]
    assert "enter the value again" in str(errors)
    assert not Execution.objects.filter(requeue_of=failed).exists()
    admin_client.post(where, longer)
    expected = payload | {"args": ["--password", SECRET, "-v"]}
    assert Execution.objects.get(requeue_of=failed).payload == expected


def test_custom_forms_hide_secrets_too(staff: Staff, make_task: Make) -> None:
    class Form(forms.Form):
        password = forms.CharField()
        tokens = forms.MultipleChoiceField(choices=[(SECRET, "a"), ("b", "b")])
        options = forms.JSONField()
        days = forms.IntegerField(required=False)

    @scheduled_task(name="shop.formed", form=Form)
    def formed(*, password: str, tokens: list[str], options: Any, days: int = 3) -> None: ...

    options = ["--password", SECRET, "x"]
    payload = {"password": SECRET, "tokens": [SECRET], "options": options, "days": 4}
    task = make_task("formed", "shop.formed", payload=payload)
    client = staff("view_task", "run_task")
    asked = client.get(page("task_run", task.pk))
    assert_none(text(asked))
    client.post(page("task_run", task.pk), values(asked.context["form"]))
    assert Execution.objects.get().payload == payload


def test_editors_read_payloads_where_they_edit(
    admin_client: Client, task: Task, make_execution: Make
) -> None:
    for view in ("task_run", "task_change"):
        assert SECRET in text(admin_client.get(page(view, task.pk)))
    # The secrets of an earlier run are not those of the definition.
    failed = make_execution(task, status="failed")
    asked = admin_client.get(page("execution_requeue_payload", failed.pk))
    assert_none(text(asked))
    admin_client.post(page("execution_requeue_payload", failed.pk), values(asked.context["form"]))
    assert Execution.objects.get(requeue_of=failed).payload == PAYLOAD


def test_defaults_and_refusals_quote_no_secret(staff: Staff, task: Task) -> None:
    client = staff("view_task", "run_task")
    Task.objects.update(payload={})
    said = text(client.get(page("task_run", task.pk)))
    assert_none(said)
    assert f"Default: {MARK}." in said
    Task.objects.update(payload={"token": SECRET}, schedule="0 2 * * *")
    assert_none(text(client.get(page("task_change", task.pk))))
    said = " ".join(messages(act(client, "run_now", task)))
    assert "token: is not accepted." in said
    assert_none(said)


def test_reasons_of_pauses_are_stored_without_secrets(
    admin_client: Client, make_task: Make, later: datetime
) -> None:
    a, b, c = (make_task(name, "shop.plain", "0 2 * * *") for name in "abc")
    typed = as_typed(paused_until=later)
    act(admin_client, "pause", a, **typed, pause="Go", pause_reason=REASON)
    edited = task_data(name="b", handler="shop.plain", pause_reason=REASON, **typed)
    assert admin_client.post(page("task_change", b.pk), edited).status_code == 302
    pause_task("c", later, reason=REASON)
    answer = admin_client.post(page("pause_add"), as_typed(until=later) | {"reason": REASON})
    assert answer.status_code == 302
    assert_none(" ".join(messages(answer)))
    assert set(Task.objects.values_list("pause_reason", flat=True)) == {SHOWN}
    assert Pause.objects.get().reason == SHOWN
    for row in (*TaskChange.objects.all(), *LogEntry.objects.all()):
        assert_none(str(vars(row)))
    for view in ("task_changelist", "pause_changelist", "taskchange_changelist"):
        assert_none(text(admin_client.get(page(view))))
    for task in (a, b, c):
        for view in ("task_change", "task_history"):
            assert_none(text(admin_client.get(page(view, task.pk))))


def test_a_viewer_reads_no_secret_on_any_page(
    staff: Staff, task: Task, make_execution: Make, now: datetime
) -> None:
    Task.objects.update(metadata={"password": SECRET}, declared={"payload": PAYLOAD})
    task.payload = {**PAYLOAD, "password": "other"}
    task.save(by="user:ada")
    row = make_execution(task, status="failed", checkpoint=PAYLOAD, payload=PAYLOAD)
    change(row, resolved_at=now)
    client = staff("view_task", "view_execution", "view_taskchange", "view_pause")
    urls = [
        *(page(f"task_{view}", task.pk) for view in ("change", "history")),
        *(page(f"execution_{view}", row.pk) for view in ("change", "history")),
        *(page("taskchange_change", pk) for pk in TaskChange.objects.values_list("pk", flat=True)),
        *map(page, ("task_changelist", "execution_changelist", "taskchange_changelist")),
        page("deadletter_changelist"),
    ]
    for url in urls:
        answer = client.get(url)
        assert answer.status_code == 200, url
        assert_none(text(answer))
