"""Fixtures of the admin's tests: a frozen clock, handlers, rows and logged-in users."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Literal

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from scheduled_tasks import scheduled_task
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Alert, Execution, MaintenanceWindow, Task, Worker
from scheduled_tasks.monitoring.alerts.raising import open_key


@pytest.fixture(autouse=True)
def stopped_clock(monkeypatch: pytest.MonkeyPatch, now: datetime) -> None:
    """Freeze the time at ``now``."""
    monkeypatch.setattr(timezone, "now", lambda: now)


@pytest.fixture
def later(now: datetime) -> datetime:
    """Return a time one week from now."""
    return now + timedelta(days=7)


@pytest.fixture(autouse=True)
def handlers(registry: HandlerRegistry) -> None:
    @scheduled_task(name="shop.cleanup")
    def cleanup(
        *, days: int = 30, dry_run: bool = True, kind: Literal["old", "all"] = "old"
    ) -> None: ...

    @scheduled_task(name="shop.export")
    def export(*, customer: str) -> None: ...

    @scheduled_task(name="shop.plain")
    def plain() -> None: ...


@pytest.fixture
def staff(db: None) -> Callable[..., Client]:
    """Return a factory for clients of staff users with the given permissions."""

    def make(*codenames: str) -> Client:
        user = User.objects.create_user("staff", is_staff=True)
        permissions = Permission.objects.filter(
            content_type__app_label="scheduled_tasks", codename__in=codenames
        )
        assert len(permissions) == len(codenames)
        user.user_permissions.set(permissions)
        client = Client()
        client.force_login(user)
        return client

    return make


@pytest.fixture
def make_execution(now: datetime) -> Callable[..., Execution]:
    """Return a factory for executions that ran for two seconds."""

    def make(task: Task, **fields: Any) -> Execution:
        execution = Execution.for_task(task, trigger="schedule", now=now)
        defaults = {
            "status": "success",
            "claimed_at": now,
            "started_at": now,
            "finished_at": now + timedelta(seconds=2),
            "duration_ms": 2_000,
            "attempt": 1,
            "worker_label": "web-1:42",
        }
        for name, value in (defaults | fields).items():
            setattr(execution, name, value)
        execution.save()
        return execution

    return make


@pytest.fixture
def make_worker(db: None, now: datetime) -> Callable[..., Worker]:
    """Return a factory for workers with a current heartbeat."""

    def make(label: str = "web-1:42", **fields: Any) -> Worker:
        return Worker.objects.create(
            **{
                "label": label,
                "host": "web-1",
                "pid": 42,
                "version": "1",
                "heartbeat_at": now,
                "started_at": now,
                **fields,
            }
        )

    return make


@pytest.fixture
def make_alert(db: None, now: datetime) -> Callable[..., Alert]:
    """Return a factory for open alerts: of a task, or of a worker."""

    def make(task: Task | None = None, **fields: Any) -> Alert:
        condition = fields.pop("condition", "failed" if task else "worker_lost")
        subject = fields.pop("subject", "" if task else "web-1:42")
        return Alert.objects.create(
            **{
                "condition": condition,
                "severity": "error",
                "task": task,
                "task_name": task.name if task else "",
                "subject": subject,
                "open_key": None
                if "cleared_at" in fields
                else open_key(condition, task.pk if task else None, subject),
                "message": "ConnectionError: refused",
                "raised_at": now,
                **fields,
            }
        )

    return make


@pytest.fixture
def make_window(db: None, now: datetime) -> Callable[..., MaintenanceWindow]:
    """Return a factory for maintenance windows that began an hour ago and last another one."""

    def make(**fields: Any) -> MaintenanceWindow:
        hour = timedelta(hours=1)
        return MaintenanceWindow.objects.create(
            **{"starts_at": now - hour, "ends_at": now + hour, "reason": "Deploy", **fields}
        )

    return make
