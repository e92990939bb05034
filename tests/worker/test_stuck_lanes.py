"""A receiver in which threads hang: the worker leaves it, says so, and tries it again."""

from __future__ import annotations

import threading
from datetime import datetime

import pytest

from scheduled_tasks.monitoring.outbox.claims import GIVE_UP_AFTER, HUNG, give_up_old
from scheduled_tasks.monitoring.outbox.sending import MAX_SENDING_SECONDS
from scheduled_tasks.worker.stuck_lanes import (
    HOPELESS_SECONDS,
    MAX_STUCK_THREADS,
    MAX_THREADS,
    RETRY_LANE_SECONDS,
)
from tests.worker.served_outbox import SECOND, Add, Receiver, Server, claim, state

pytestmark = pytest.mark.django_db(transaction=True)

HOURS = 3_600


@pytest.fixture
def hanging(receiver: Receiver) -> threading.Event:
    """Let a receiver hang until this event."""
    return receiver.hangs.setdefault("ops", threading.Event())


def serve(server: Server, now: datetime, seconds: float, *, step: float) -> datetime:
    """Serve for a time, by both clocks; return the moment at its end."""
    for _ in range(round(seconds / step)):
        server.served.run(now)
        server.time += step
        now += step * SECOND
    server.served.run(now)
    return now


def leave(server: Server, now: datetime) -> datetime:
    """Serve until the lane is left; return when."""
    step = MAX_SENDING_SECONDS + 1
    return serve(server, now, MAX_STUCK_THREADS * step, step=step)


def add_some(add: Add) -> None:
    for number in range(MAX_THREADS + 5):
        add("ops", sequence=str(number))


def tries() -> int:
    """Return how many messages a thread has begun to send: each hangs in one of its own."""
    return sum(attempts for _, _, attempts, _ in state("ops"))


@pytest.mark.usefixtures("hanging")
def test_a_worker_says_once_that_it_leaves(
    server: Server, add: Add, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    add_some(add)
    now = leave(server, now)
    serve(server, now, 3 * RETRY_LANE_SECONDS, step=30)
    [error] = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    assert error == (
        "ops is left, because 3 threads hang in it: give its receiver a timeout, and restart this "
        "worker. Until then it tries one more thread every 5 minutes, up to 10, and gives up what "
        "is too old"
    )


@pytest.mark.usefixtures("hanging")
def test_a_lane_that_was_left_is_tried(server: Server, add: Add, now: datetime) -> None:
    add_some(add)
    now = leave(server, now)
    now = serve(server, now, RETRY_LANE_SECONDS - 1, step=RETRY_LANE_SECONDS - 1)
    assert tries() == MAX_STUCK_THREADS
    serve(server, now, 30, step=1)
    assert tries() == MAX_STUCK_THREADS + 1


@pytest.mark.usefixtures("hanging")
def test_only_so_many_threads_hang(server: Server, add: Add, now: datetime) -> None:
    add_some(add)
    serve(server, now, 3 * HOURS, step=60)
    assert tries() == MAX_THREADS


def test_a_lane_recovers_by_itself(
    receiver: Receiver, server: Server, add: Add, now: datetime, hanging: threading.Event
) -> None:
    """Although the threads that hang never end."""
    add_some(add)
    now = leave(server, now)
    del receiver.hangs["ops"]
    server.time += RETRY_LANE_SECONDS
    server.send(now + RETRY_LANE_SECONDS * SECOND, MAX_THREADS + 5)
    assert [delivered for _, delivered, *_ in state("ops")] == [True] * (MAX_THREADS + 5)
    hanging.set()


def test_what_has_failed_comes_last_in_its_lane(add: Add, now: datetime) -> None:
    """Otherwise one message that hangs would take each thread that tries the lane again."""
    add("failed", lane="ops", due_at=now + SECOND)
    add("new", lane="ops")
    assert [row.target for row in claim("w", now + SECOND)] == ["new", "failed"]


@pytest.mark.usefixtures("hanging")
def test_what_waits_too_long_is_given_up(
    server: Server, add: Add, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    add_some(add)
    now = serve(server, now, 24 * HOURS - 600, step=600)
    assert not any(finished for finished, *_ in state("ops"))
    serve(server, now, 5 * HOURS, step=600)
    assert all(finished and not delivered for finished, delivered, *_ in state("ops"))
    assert state("ops")[-1] == (True, False, 0, HUNG)
    assert "is given up: It was due for 24 hours" in caplog.text


@pytest.mark.usefixtures("hanging")
def test_after_an_outage_old_messages_are_tried(server: Server, add: Add, now: datetime) -> None:
    """No worker was there for long: the receiver may just be starting, too."""
    add_some(add)
    now = leave(server, now + 2 * GIVE_UP_AFTER)
    now = serve(server, now, HOPELESS_SECONDS - 60, step=60)
    assert not any(finished for finished, *_ in state("ops"))
    serve(server, now, 120, step=60)
    assert state("ops")[-1] == (True, False, 0, HUNG)


def test_only_what_nobody_sends_is_given_up(add: Add, now: datetime) -> None:
    add("ops")
    add("other")
    add("held", lane="ops", due_at=now + SECOND, created_at=now - 2 * GIVE_UP_AFTER)
    later = now + GIVE_UP_AFTER
    assert [row.target for row in give_up_old(["ops"], later)] == ["ops"]
    claim("w", later)
    assert give_up_old(["ops", "other"], later + SECOND) == []
