"""The form of a task whose row, or whose handler, has become invalid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from scheduled_tasks import scheduled_task
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Task
from tests.admin.forms import change, errors_of
from tests.admin.pages import page, text

Make = Callable[..., Any]


def test_errors_of_read_only_fields_are_form_errors(admin_client: Client, make_task: Make) -> None:
    task = make_task("nightly", "shop.cleanup", "0 2 * * *", origin=Task.Origin.CODE)
    Task.objects.update(handler="shop.gone")
    response = change(admin_client, task, description="x")
    assert "handler: No handler is called 'shop.gone'." in errors_of(response)["__all__"][0]
    assert Task.objects.get().description == ""


@pytest.mark.parametrize(
    "gone_bad",
    [
        {"handler": "shop.gone"},
        {"schedule": "nonsense"},
        {"timezone": "Mars/Base"},
        {"payload": [1]},
        {"payload": {"gone": 1}},
        {"payload": None},
        {"name": "Bad Name"},
        {"declared": {"schedule": "* * * * *"}, "origin": "code"},
    ],
)
def test_a_row_that_went_bad_can_be_mended(
    admin_client: Client, make_task: Make, gone_bad: dict[str, Any]
) -> None:
    task = make_task("nightly", "shop.cleanup", "0 2 * * *")
    if gone_bad.get("payload", "") is None:
        gone_bad = {"payload": "null"}
    Task.objects.update(**gone_bad)
    assert admin_client.get(page("task_changelist")).status_code == 200
    response = admin_client.get(page("task_change", task.pk))
    assert response.status_code == 200
    for name in {"handler", "timezone"} & set(gone_bad):
        assert f'<option value="{gone_bad[name]}" selected>' in text(response)
    assert change(admin_client, task).status_code == 302
    assert Task.objects.get().problem() == ""


def test_an_invalid_row_says_so(admin_client: Client, make_task: Make) -> None:
    task = make_task("nightly", "shop.cleanup", "0 2 * * *")
    url = page("task_change", task.pk)
    Task.objects.update(schedule="nonsense")
    assert "Invalid: nonsense" in text(admin_client.get(page("task_changelist")))
    assert "Cannot run: " in text(admin_client.get(url))
    Task.objects.update(schedule="0 2 * * *", handler="shop.gone")
    assert "No handler is called &#x27;shop.gone&#x27;." in text(admin_client.get(url))


def test_two_handlers_with_one_key_break_no_page(
    admin_client: Client, make_task: Make, registry: HandlerRegistry
) -> None:
    task = make_task("nightly", "shop.cleanup", "0 2 * * *")

    @scheduled_task(name="shop.cleanup")
    def another() -> None: ...

    assert admin_client.get(page("task_change", task.pk)).status_code == 200
    assert admin_client.get(page("task_add")).status_code == 200
    assert "Two functions register" in errors_of(change(admin_client, task))["handler"][0]
    assert admin_client.get(page("task_run", task.pk)).status_code == 302
