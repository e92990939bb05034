"""Helpers for the admin's pages: URLs, form data, contents, and rows to show."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from django.contrib.messages import get_messages
from django.db.models import F
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from scheduled_tasks.models import Alert, Attempt, Delivery, Execution, ExecutionLog, Task
from scheduled_tasks.models.policies import Policies


def page(view: str, *args: Any, site: str = "admin") -> str:
    return reverse(f"admin:scheduled_tasks_{view}", args=args, current_app=site)


def text(response: HttpResponse) -> str:
    return response.content.decode()


def shown(client: Client, execution: Execution) -> str:
    response = client.get(page("execution_change", execution.pk))
    assert response.status_code == 200
    return text(response)


def listed(client: Client, view: str, query: str = "") -> list[str]:
    """Return the rows of a list as strings."""
    response = client.get(page(view) + query)
    assert response.status_code == 200, response.headers
    return [str(row) for row in response.context["cl"].result_list]


def messages(response: Any) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


def act(client: Client, action: str, *tasks: Task, **fields: Any) -> Any:
    """Run an action of the list on the given tasks."""
    data = {"action": action, "_selected_action": [task.pk for task in tasks], **fields}
    client.cookies.pop("messages", None)
    return client.post(page("task_changelist"), data)


def as_typed(**moments: datetime) -> dict[str, str]:
    """Return times as a browser posts them."""
    return {
        f"{name}_{part}": f"{moment:{form}}"
        for name, moment in moments.items()
        for part, form in enumerate(("%Y-%m-%d", "%H:%M:%S"))
    }


def task_data(**fields: Any) -> dict[str, Any]:
    """Return the form of a task as a browser posts it."""
    return {
        "name": "nightly",
        "handler": "shop.cleanup",
        "description": "",
        "category": "",
        "schedule": "0 2 * * *",
        "timezone": "Europe/Berlin",
        "anchor_0": "",
        "anchor_1": "",
        "enabled": "on",
        "payload": "{}",
        **typed_policies(),
        "paused_until_0": "",
        "paused_until_1": "",
        "pause_reason": "",
        "metadata": "{}",
    } | fields


def typed_policies() -> dict[str, str]:
    """Return what a browser posts for policies that keep their defaults."""
    typed: dict[str, str] = {}
    for name in Policies.DECLARED_FIELDS:
        if name == "notify_on":
            continue  # boxes, none of which is checked
        default = Policies._meta.get_field(name).get_default()
        parts = (f"{name}_0", f"{name}_1") if name in Policies.MOMENTS else (name,)
        typed |= dict.fromkeys(parts, "" if default is None else str(default))
    return typed


def change(execution: Execution, **fields: Any) -> None:
    Execution.objects.filter(pk=execution.pk).update(**fields)


def tried(execution: Execution, number: int, **fields: Any) -> None:
    moment = execution.created_at + timedelta(minutes=number)
    defaults = {
        "outcome": "failed",
        "worker_label": "web-1:42",
        "claimed_at": moment,
        "started_at": moment + timedelta(seconds=1),
        "finished_at": moment + timedelta(seconds=3),
        "duration_ms": 2_000,
        "error_category": "network",
        "error": f"ConnectionError: no answer to {number}",
        "traceback": f"Traceback of {number}",
    }
    Attempt.objects.create(execution=execution, number=number, **(defaults | fields))


def say(execution: Execution, *messages: str, **fields: Any) -> None:
    ExecutionLog.objects.bulk_create(
        ExecutionLog(
            **{
                "execution": execution,
                "attempt": execution.attempt,
                "logged_at": execution.created_at,
                "level": logging.INFO,
                "logger": "shop.letters",
                "message": message,
            }
            | fields
        )
        for message in messages
    )
    rows = Execution.objects.filter(pk=execution.pk)
    rows.update(log_count=F("log_count") + len(messages))


def sent_of(alert: Alert, **fields: Any) -> Delivery:
    """Write a message about an alert that has been sent by the notifier ``ops``."""
    return Delivery.objects.create(
        **{
            "alert": alert,
            "transport": "notifier",
            "event": "raised",
            "target": "ops",
            "lane": "notifier ops",
            "sequence": str(alert.pk),
            "created_at": alert.raised_at,
            "due_at": alert.raised_at,
            "finished_at": alert.raised_at,
            "delivered": True,
            "attempts": 1,
            **fields,
        }
    )
