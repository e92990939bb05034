"""Global pauses."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from scheduled_tasks.models import Pause
from scheduled_tasks.models.pause import begin_pause

pytestmark = pytest.mark.django_db


def test_a_pause_begun_again_gets_a_new_id(now: datetime) -> None:
    """Another process may have got the id of the try that was rolled back."""
    pause = begin_pause(Pause(begun_at=now, reason="Deploy"))
    begin_pause(pause)
    assert Pause.objects.count() == 2


def test_a_new_pause_replaces_the_one_in_force(now: datetime) -> None:
    first = Pause.objects.begin(now, reason="Deploy", by="ada")
    later = now + timedelta(minutes=1)
    second = Pause.objects.begin(later, until=later + timedelta(hours=1), by="bob")
    first.refresh_from_db()
    assert (first.ended_at, first.ended_by) == (later, "bob")
    assert list(Pause.objects.in_force(later)) == [second]
