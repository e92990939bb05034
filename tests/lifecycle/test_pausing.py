"""Global pauses."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from scheduled_tasks.lifecycle.pausing import begin_pause
from scheduled_tasks.models import Pause
from scheduled_tasks.models.sql.transactions import LostRaceError

pytestmark = pytest.mark.django_db


@pytest.mark.django_db(transaction=True)
def test_a_pause_is_begun_once_after_a_conflict(
    now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[Pause] = []
    save = Pause.save

    def conflict_once(pause: Pause, *args: Any, **options: Any) -> None:
        save(pause, *args, **options)
        tries.append(pause)
        if len(tries) == 1:
            raise LostRaceError("Another transaction was faster.")

    monkeypatch.setattr(Pause, "save", conflict_once)
    pause = begin_pause(now, reason="Deploy")
    # Another process may have got the id of the try that was rolled back.
    assert tries[0] is not tries[1]
    assert list(Pause.objects.all()) == [pause]


def test_the_reason_of_a_pause_is_redacted(now: datetime) -> None:
    assert begin_pause(now, reason="password=hunter2xyz").reason == "password=[redacted]"
    assert len(begin_pause(now, reason="token=a " * 31).reason) <= 255


def test_a_new_pause_replaces_the_one_in_force(now: datetime) -> None:
    first = begin_pause(now, reason="Deploy", by="ada")
    later = now + timedelta(minutes=1)
    second = begin_pause(later, until=later + timedelta(hours=1), by="bob")
    first.refresh_from_db()
    assert (first.ended_at, first.ended_by) == (later, "bob")
    assert list(Pause.objects.in_force(later)) == [second]
