"""Losses are found by observation, on the observer's own clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from scheduled_tasks.worker.lost_workers import LostWorkerDetector

SILENT, BEATING = uuid4(), uuid4()


class Observer:
    """Looks every five seconds of a clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.detector = LostWorkerDetector(lease=60, max_gap=30, monotonic=lambda: self.seconds)

    def look(self, now: datetime, *, after: float = 5) -> set[UUID]:
        self.seconds += after
        beats = {SILENT: now, BEATING: now + timedelta(seconds=self.seconds)}
        return set(self.detector.observe(beats))


@pytest.fixture
def observer() -> Observer:
    return Observer()


def test_a_worker_is_lost_after_a_silent_lease(observer: Observer, now: datetime) -> None:
    observer.look(now)
    assert [observer.look(now) for _ in range(11)] == [set()] * 11
    assert observer.look(now) == {SILENT}


def test_a_break_restarts_the_observation(observer: Observer, now: datetime) -> None:
    for _ in range(11):
        observer.look(now)
    assert observer.look(now, after=31) == set()
    assert [observer.look(now) for _ in range(11)] == [set()] * 11
    assert observer.look(now) == {SILENT}


def test_a_lost_connection_restarts_the_observation(observer: Observer, now: datetime) -> None:
    for _ in range(12):
        observer.look(now)
    observer.detector.reset()
    assert [observer.look(now) for _ in range(12)] == [set()] * 12
    assert observer.look(now) == {SILENT}
