"""Arguments that no database can store, typed into the pages that run a task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from scheduled_tasks import scheduled_task
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Execution, Task
from tests.admin.pages import page, text

BAD_JSON = [
    '{"a": NaN}',
    '{"a": "\\ud800"}',
    '{"\\udfff": 1}',
    '{"a": "\\u0000"}',
    f'{{"a": {"[" * 900}{"]" * 900}}}',
    "[" * 100_000,
    f'{{"a": {"9" * 4_000}}}',
    f'{{"a": {"9" * 5_000}}}',
    f'{{"a": "{"x" * 1_000_000}"}}',
]


@pytest.fixture
def task(registry: HandlerRegistry, make_task: Callable[..., Task]) -> Task:
    @scheduled_task(name="shop.take")
    def take(*, data: dict[str, Any] | None = None, note: str = "", **more: Any) -> None: ...

    return make_task("takes", "shop.take")


@pytest.mark.any_database
@pytest.mark.parametrize("field", ["data", "more"])
@pytest.mark.parametrize("value", BAD_JSON, ids=lambda value: value[:14])
def test_unstorable_arguments_queue_nothing(
    admin_client: Client, task: Task, field: str, value: str
) -> None:
    response = admin_client.post(page("task_run", task.pk), {f"payload-{field}": value})
    assert response.status_code == 200
    assert response.context["form"].errors
    assert text(response)
    assert not Execution.objects.exists()


@pytest.mark.any_database
def test_unstorable_texts_are_errors_of_their_fields(admin_client: Client, task: Task) -> None:
    for note in ("a\0b", "x" * 1_000_001):
        response = admin_client.post(page("task_run", task.pk), {"payload-note": note})
        assert response.status_code == 200
        assert response.context["form"].errors
    for reason in ("a\0b", "x" * 256):
        response = admin_client.post(page("pause_add"), {"reason": reason})
        assert list(response.context["adminform"].form.errors) == ["reason"]
    assert not Execution.objects.exists()
