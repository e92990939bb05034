"""Executors that leave nothing behind."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psutil
import pytest

from scheduled_tasks.handlers.registry import HandlerRegistry
from tests.executors.processes_in_hand import MARK, Hand, with_mark
from tests.executors.threads_in_hand import Holder, timers
from tests.support.processes import LONG, wait_until

TakeInHand = Callable[..., Hand]


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Mark all processes that the test starts; at the end none of them is left."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    yield mark
    left = with_mark(mark)
    described = [description_of(process) for process in left]
    for process in left:
        process.kill()
    assert described == []


@pytest.fixture
def take_in_hand(settings: Any, mark: str) -> Iterator[TakeInHand]:
    """Return a maker of open process executors; at the end no process is left of any of them."""
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


@pytest.fixture
def hand(take_in_hand: TakeInHand) -> Hand:
    """Return a process executor for two runs at a time."""
    return take_in_hand(2)


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


def description_of(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return f"{process} of {process.parent()} with {process.children()}: {process.cmdline()}"
    return str(process)


def in_session(process: psutil.Process, sessions: set[int]) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and os.getsid(process.pid) in sessions
    except (psutil.Error, OSError):
        return False
