"""Executors that leave nothing behind, and the outcome of a single attempt."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import psutil
import pytest

from scheduled_tasks import scheduled_task
from scheduled_tasks.executors.runner import perform
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.runtime.cancellation import Cancellation
from scheduled_tasks.runtime.context import NullRecorder
from scheduled_tasks.runtime.runs import Outcome, Run
from tests.executors.kept_hand import KeptHand
from tests.executors.processes_in_hand import MARK, Hand, end_all, with_mark
from tests.executors.threads_in_hand import Holder, timers
from tests.support.processes import LONG, wait_until
from tests.support.registries import isolated

TakeInHand = Callable[..., Hand]
Perform = Callable[..., Outcome]


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Mark all processes that the test starts; at the end none of them is left."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    yield mark
    end_all(with_mark(mark))


@pytest.fixture
def take_in_hand(settings: Any, mark: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[TakeInHand]:
    """Return a maker of open process executors; at the end no process is left of any of them."""
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.support.process_settings")
    taken: list[Hand] = []
    sessions: set[int] = set()

    def take(concurrency: int = 2, **options: Any) -> Hand:
        settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, **options}
        hand = Hand(concurrency)
        taken.append(hand)
        hand.executor.open()
        sessions.add(hand.server.pid)
        return hand

    yield take
    for hand in taken:
        hand.executor.close()
    assert not [process for process in psutil.process_iter() if in_session(process, sessions)]


@pytest.fixture(scope="session")
def kept_hand() -> Iterator[KeptHand]:
    """Return the process executor that tests share."""
    kept = KeptHand()
    yield kept
    kept.close()


@pytest.fixture
def hand(kept_hand: KeptHand) -> Iterator[Hand]:
    """Return a process executor for two runs at a time, with a fork server that others have used.

    To load one takes most of the time of a test. Its options, and what it inherits, are those with
    which it began: tests that change them take another in hand.
    """
    with kept_hand.lent() as hand:
        yield hand


@pytest.fixture
def holder(registry: HandlerRegistry) -> Iterator[Holder]:
    """Return an executor whose threads have all ended when the test has."""
    holder = Holder()
    yield holder
    holder.executor.close()
    for thread in holder.executor._threads:
        thread.join(LONG)
        assert not thread.is_alive()
    wait_until(lambda: not list(timers()), within=LONG)


@pytest.fixture
def run(now: datetime) -> Run:
    """Return the second attempt of a scheduled execution."""
    return Run(
        execution_id=7,
        attempt=2,
        task_name="one",
        handler="shop.job",
        scheduled_for=now,
        trigger="schedule",
        schedule="0 2 * * *",
        triggered_by="user:ada",
    )


@pytest.fixture
def outcome_of(registry: HandlerRegistry, run: Run, now: datetime) -> Perform:
    """Return a function that runs a handler once and checks that its outcome can be stored."""

    def once(function: Callable[..., Any], **payload: Any) -> Outcome:
        seconds = count()
        with isolated(registry):
            scheduled_task(name="shop.job")(function)
            outcome = perform(
                replace(run, payload=payload),
                clock=lambda: now + timedelta(seconds=next(seconds)),
                recorder=NullRecorder(),
                cancellation=Cancellation(),
            )
        assert (outcome.execution_id, outcome.attempt) == (7, 2)
        # Lines of the log ask for the time, too.
        assert outcome.started_at == now < outcome.finished_at
        assert outcome.duration_ms >= 0
        for text in (outcome.error, outcome.traceback, outcome.reason):
            assert "\0" not in text
            text.encode()
        json.dumps(outcome.result, allow_nan=False)
        assert len(outcome.error) <= 2000
        assert len(outcome.traceback) <= 100_000
        assert len(outcome.error_category) <= 20
        assert len(outcome.error_fingerprint) in (0, 32)
        return outcome

    return once


def in_session(process: psutil.Process, sessions: set[int]) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and os.getsid(process.pid) in sessions
    except (psutil.Error, OSError):
        return False
