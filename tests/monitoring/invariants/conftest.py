"""A task, its first slot, and what a deploy leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from scheduled_tasks.models import Task, TaskChange
from tests.monitoring.fleet import MINUTE
from tests.monitoring.invariants.scene import NEW
from tests.support.attempts import NOTHING

Make = Callable[..., Task]


@pytest.fixture
def task(nothing: None, make_task: Make) -> Task:
    """Return a task whose next slot is five minutes from ``now``."""
    return make_task("night", NOTHING, "every 5 minutes")


@pytest.fixture
def slot(now: datetime) -> datetime:
    return now + 5 * MINUTE


@pytest.fixture
def orphan(task: Task, now: datetime) -> Task:
    """Return a task that was made at ``now``, with a handler that no worker knows."""
    Task.objects.update(handler=NEW)
    TaskChange.objects.update(changed_at=now)
    return task
