"""All tasks are paused and resumed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from scheduled_tasks.exceptions import InvalidTask
from scheduled_tasks.models import Pause
from scheduled_tasks.operations.pauses import pause_all_tasks, resume_all_tasks

pytestmark = pytest.mark.django_db


def test_all_tasks_are_paused_and_resumed() -> None:
    until = timezone.now() + timedelta(hours=1)
    pause = pause_all_tasks(until=until, reason="Deploy", by="user:ada")
    assert (pause.until, pause.reason, pause.begun_by) == (until, "Deploy", "user:ada")
    assert list(Pause.objects.in_force(timezone.now())) == [pause]
    assert resume_all_tasks(by="user:bob") == 1
    assert resume_all_tasks(by="user:bob") == 0
    assert Pause.objects.get().ended_by == "user:bob"


def test_a_global_pause_in_the_past_is_refused() -> None:
    now = datetime(2020, 3, 1, 12, tzinfo=UTC)
    with pytest.raises(InvalidTask, match=r"in the past: .*; resume_all_tasks\(\) ends a pause"):
        pause_all_tasks(until=now)
    assert not Pause.objects.exists()
    later = now + timedelta(hours=1)
    assert pause_all_tasks(until=later, now=now).covers(now)
