"""Helpers for the form of a task: submit it, and read its errors."""

from __future__ import annotations

from typing import Any

from django.test import Client

from scheduled_tasks.models import Task
from tests.admin.pages import page, task_data


def add(client: Client, **fields: Any) -> Any:
    return client.post(page("task_add"), task_data(**fields))


def change(client: Client, task: Task, **fields: Any) -> Any:
    return client.post(page("task_change", task.pk), task_data(**{"name": task.name, **fields}))


def errors_of(response: Any) -> dict[str, list[str]]:
    assert response.status_code == 200
    return dict(response.context_data["adminform"].form.errors)
