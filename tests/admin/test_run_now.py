"""The page that runs a task now, with a form for the handler's arguments."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django import forms
from django.test import Client

from scheduled_tasks import scheduled_task
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.handlers.registry import registry as handlers
from scheduled_tasks.models import Execution, Task
from scheduled_tasks.worker.scheduler import Scheduler
from tests.admin.pages import messages, page, text

pytestmark = pytest.mark.any_database

Make = Callable[..., Any]


def run(client: Client, task: Task, **given: str) -> Any:
    return client.post(
        page("task_run", task.pk), {f"payload-{name}": value for name, value in given.items()}
    )


def test_the_page_of_a_task_links_to_it(admin_client: Client, make_task: Make) -> None:
    task = make_task("nightly", "shop.cleanup")
    url = page("task_run", task.pk)
    assert f'href="{url}"' in text(admin_client.get(page("task_change", task.pk)))
    assert admin_client.get(url).status_code == 200


def test_it_shows_a_field_for_each_argument(admin_client: Client, make_task: Make) -> None:
    task = make_task("nightly", "shop.cleanup", description="Delete what is old.")
    response = admin_client.get(page("task_run", task.pk))
    assert list(response.context["form"].fields) == ["days", "dry_run", "kind"]
    said = text(response)
    assert "Run nightly now" in said
    assert "Delete what is old." in said
    assert "default (yes)" in said


def test_fields_are_labelled_and_described(admin_client: Client, make_task: Make) -> None:
    said = text(admin_client.get(page("task_run", make_task("nightly", "shop.cleanup").pk)))
    assert '<label for="id_payload-days">' in said
    assert 'aria-describedby="id_payload-days_helptext"' in said
    assert 'id="id_payload-days_helptext"' in said


def test_it_shows_the_payload_of_the_task(admin_client: Client, make_task: Make) -> None:
    task = make_task("nightly", "shop.cleanup", payload={"days": 7})
    assert 'value="7"' in text(admin_client.get(page("task_run", task.pk)))
    run(admin_client, task, days="7", dry_run="", kind="")
    assert Execution.objects.get().payload == {"days": 7}


def test_the_run_is_queued_in_the_users_name(admin_client: Client, make_task: Make) -> None:
    task = make_task("nightly", "shop.cleanup", "0 2 * * *")
    due = task.state.next_run_at
    response = run(admin_client, task, days="7", dry_run="", kind="all")
    execution = Execution.objects.get()
    assert response.status_code == 302
    assert response.url == page("execution_change", execution.pk)
    assert messages(response) == [
        f"Queued as execution #{execution.pk}. It runs as soon as a worker is free."
    ]
    assert execution.payload == {"days": 7, "kind": "all"}
    assert (execution.status, execution.trigger) == ("queued", "manual")
    assert execution.triggered_by == "user:admin"
    assert Task.objects.get().state.next_run_at == due
    assert Task.objects.get().payload == {}


@pytest.mark.parametrize(
    ("choice", "payload", "ran_with"),
    [("", {}, True), ("true", {"dry_run": True}, True), ("false", {"dry_run": False}, False)],
)
def test_an_unset_flag_keeps_the_handlers_default(  # noqa: PLR0917
    admin_client: Client,
    make_task: Make,
    scheduler: Make,
    choice: str,
    payload: dict[str, bool],
    ran_with: bool,  # noqa: FBT001
) -> None:
    calls: list[bool] = []

    @scheduled_task(name="shop.careful")
    def careful(*, dry_run: bool = True) -> None:
        calls.append(dry_run)

    task = make_task("careful", "shop.careful")
    assert '<option value="false">No</option>' in text(admin_client.get(page("task_run", task.pk)))
    run(admin_client, task, dry_run=choice)
    execution = Execution.objects.get()
    assert execution.payload == payload
    worker: Scheduler = scheduler()
    worker.tick(execution.run_after)
    execution.refresh_from_db()
    assert (execution.status, calls) == ("success", [ran_with])


def test_a_handler_without_arguments_needs_only_a_click(
    admin_client: Client, make_task: Make
) -> None:
    task = make_task("plain", "shop.plain")
    assert "This task takes no arguments." in text(admin_client.get(page("task_run", task.pk)))
    assert run(admin_client, task).status_code == 302
    assert Execution.objects.get().payload == {}


@pytest.mark.parametrize(
    ("given", "field"),
    [({"days": "many"}, "days"), ({"kind": "some"}, "kind"), ({"dry_run": "perhaps"}, "dry_run")],
)
def test_invalid_arguments_are_field_errors_and_queue_nothing(
    admin_client: Client, make_task: Make, given: dict[str, str], field: str
) -> None:
    response = run(admin_client, make_task("nightly", "shop.cleanup"), **given)
    assert response.status_code == 200
    assert list(response.context["form"].errors) == [field]
    said = text(response)
    assert "Please correct the error below." in said
    assert "<title>Error: " in said
    assert not Execution.objects.exists()


def test_required_arguments_are_required(admin_client: Client, make_task: Make) -> None:
    task = make_task("export", "shop.export")
    assert list(run(admin_client, task).context["form"].errors) == ["customer"]
    run(admin_client, task, customer="Ada")
    assert Execution.objects.get().payload == {"customer": "Ada"}


def test_a_custom_form_shows_its_help_texts(admin_client: Client, make_task: Make) -> None:
    class LetterForm(forms.Form):
        to = forms.EmailField(help_text="<em>Anybody</em>")
        token = forms.CharField(widget=forms.HiddenInput, required=False)

    @scheduled_task(name="shop.letter", form=LetterForm)
    def letter(*, to: str, token: str = "") -> None: ...

    task = make_task("letter", "shop.letter")
    said = text(admin_client.get(page("task_run", task.pk)))
    assert "<em>Anybody</em>" in said
    assert 'type="hidden" name="payload-token"' in said
    assert list(run(admin_client, task, to="nobody").context["form"].errors) == ["to"]
    run(admin_client, task, to="ada@example.com")
    assert Execution.objects.get().payload == {"to": "ada@example.com"}


def test_a_payload_refused_on_submit_shows_form_errors(
    admin_client: Client, make_task: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task("nightly", "shop.cleanup")
    spec = handlers.get("shop.cleanup").spec
    monkeypatch.setattr(type(spec), "payload_from", lambda *_: {"days": None, "gone": 1})
    response = run(admin_client, task)
    assert set(response.context["form"].errors) == {"days", "__all__"}
    assert not Execution.objects.exists()


def test_test_mode_is_separate_from_the_arguments(admin_client: Client, make_task: Make) -> None:
    @scheduled_task(name="shop.tried")
    def tried(*, test_mode: str = "") -> None: ...

    task = make_task("tried", "shop.tried")
    said = text(admin_client.get(page("task_run", task.pk)))
    assert '<input type="checkbox" name="run-test_mode"' in said
    assert 'for="id_run-test_mode"' in said
    assert 'id="id_run-test_mode_helptext"' in said
    assert "the outcome is not counted" in said

    run(admin_client, task, test_mode="on")
    execution = Execution.objects.latest("pk")
    assert (execution.test_mode, execution.payload) == (False, {"test_mode": "on"})

    admin_client.post(page("task_run", task.pk), {"run-test_mode": "on", "payload-test_mode": ""})
    execution = Execution.objects.latest("pk")
    assert (execution.test_mode, execution.payload) == (True, {})
    assert f"Run now in test mode: execution #{execution.pk}." in text(
        admin_client.get(page("task_history", task.pk))
    )


def test_test_mode_stays_checked_while_arguments_are_corrected(
    admin_client: Client, make_task: Make
) -> None:
    task = make_task("nightly", "shop.cleanup")
    posted = {"run-test_mode": "on", "payload-days": "many"}
    said = text(admin_client.post(page("task_run", task.pk), posted))
    assert 'id="id_run-test_mode" checked' in said


def test_an_unknown_handler_redirects_to_the_task_page(
    admin_client: Client, make_task: Make, registry: HandlerRegistry
) -> None:
    task = make_task("nightly", "shop.cleanup")
    Task.objects.update(handler="shop.gone")
    for response in (admin_client.get(page("task_run", task.pk)), run(admin_client, task)):
        assert response.status_code == 302
        assert response.url == page("task_change", task.pk)
        assert "No handler is called 'shop.gone'." in messages(response)[0]
    assert not Execution.objects.exists()


def test_an_unknown_task_is_not_found(admin_client: Client, now: datetime) -> None:
    for number in ("4711", "x", "1/change"):
        assert admin_client.get(page("task_changelist") + f"{number}/run/").status_code == 404


def test_a_stored_non_object_payload_is_ignored(admin_client: Client, make_task: Make) -> None:
    task = make_task("nightly", "shop.cleanup")
    Task.objects.update(payload=[1])
    assert admin_client.get(page("task_run", task.pk)).status_code == 200
    run(admin_client, task)
    assert Execution.objects.get().payload == {}
