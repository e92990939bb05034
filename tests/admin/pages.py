"""Addresses of the admin's pages, and what their answers say."""

from __future__ import annotations

from typing import Any

from django.contrib.messages import get_messages
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from scheduled_tasks.models import Task


def page(view: str, *args: Any, site: str = "admin") -> str:
    return reverse(f"admin:scheduled_tasks_{view}", args=args, current_app=site)


def text(response: HttpResponse) -> str:
    return response.content.decode()


def messages(response: Any) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


def act(client: Client, action: str, *tasks: Task, **fields: Any) -> Any:
    """Do an action of the list of tasks to the given tasks."""
    data = {"action": action, "_selected_action": [task.pk for task in tasks], **fields}
    client.cookies.pop("messages", None)
    return client.post(page("task_changelist"), data)


def task_data(**fields: Any) -> dict[str, Any]:
    """Return what a browser posts of the form of a task."""
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
        "queue": "default",
        "priority": "0",
        "timeout": "",
        "memory_limit_mb": "",
        "executor": "",
        "max_retries": "0",
        "retry_delay": "1",
        "retry_backoff": "2",
        "retry_max_delay": "3600",
        "on_lost": "retry",
        "max_losses": "3",
        "misfire_policy": "once",
        "misfire_grace": "",
        "catch_up_limit": "100",
        "overlap_policy": "skip",
        "jitter": "0",
        "starts_at_0": "",
        "starts_at_1": "",
        "ends_at_0": "",
        "ends_at_1": "",
        "paused_until_0": "",
        "paused_until_1": "",
        "pause_reason": "",
        "metadata": "{}",
    } | fields
