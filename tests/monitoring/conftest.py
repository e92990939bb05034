"""Two notifiers that nothing sends to: what waits for them is in the outbox."""

from __future__ import annotations

from typing import Any

import pytest

from scheduled_tasks.models import Task

CALLABLE = "scheduled_tasks.monitoring.notifiers.CallableNotifier"


@pytest.fixture
def notifiers(settings: Any) -> None:
    """Set up two notifiers."""
    options = {"function": "tests.monitoring.received.receive"}
    settings.SCHEDULED_TASKS = {
        **getattr(settings, "SCHEDULED_TASKS", {}),
        "NOTIFIERS": {
            "ops": {"BACKEND": CALLABLE, "OPTIONS": options},
            "boss": {"BACKEND": CALLABLE, "OPTIONS": options},
        },
    }


def update(task: Task, **fields: Any) -> None:
    """Change columns of a task behind the back of its edits."""
    Task.objects.filter(pk=task.pk).update(**fields)
