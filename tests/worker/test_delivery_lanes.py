"""How many messages a worker holds, and what hangs or kills it stops no other message."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from django.db import OperationalError

from scheduled_tasks.models import Delivery, Worker
from scheduled_tasks.monitoring.outbox import claims
from scheduled_tasks.monitoring.outbox.claims import (
    DIED,
    MAX_LOSSES,
)
from scheduled_tasks.monitoring.outbox.sending import MAX_SENDING_SECONDS
from scheduled_tasks.worker import deliveries
from scheduled_tasks.worker.deliveries import (
    MAX_PER_LANE,
    SLOW_SECONDS,
)
from scheduled_tasks.worker.stuck_lanes import MAX_STUCK_THREADS
from tests.worker.served_outbox import (
    SECOND,
    Add,
    Receiver,
    Server,
    held,
    lose,
    state,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_receiver_that_hangs_stops_no_other(
    receiver: Receiver, server: Server, add: Add, now: datetime
) -> None:
    receiver.hangs["hangs"] = threading.Event()
    add("hangs", "raised")
    add("hangs", "cleared", sequence="another")
    add("ops")
    server.send(now, 1)
    assert receiver.sent == ["raised ops"]
    server.time = MAX_SENDING_SECONDS - 1
    server.send(now + 60 * SECOND, 0)
    assert state("hangs")[0][3] == ""
    server.time += 2
    receiver.hangs["hangs"], stuck = threading.Event(), receiver.hangs["hangs"]
    server.served.run(now + 61 * SECOND)
    first = Delivery.objects.filter(target="hangs").order_by("pk").first()
    assert first is not None
    assert "was not sent within 1 minute" in first.error
    stuck.set()
    assert not first.delivered


def test_threads_that_hang_are_few(
    receiver: Receiver, server: Server, add: Add, now: datetime
) -> None:
    receiver.hangs["hangs"] = threading.Event()
    for number in range(MAX_STUCK_THREADS + 2):
        add("hangs", sequence=str(number))
    for turn in range(MAX_STUCK_THREADS + 2):
        server.served.run(now + turn * 120 * SECOND)
        server.time += MAX_SENDING_SECONDS + 1
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("send hangs") == MAX_STUCK_THREADS
    receiver.hangs["hangs"].set()


def test_one_round_claims_a_bounded_number(
    receiver: Receiver, worker: Worker, add: Add, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "MAX_CLAIMED", 10)
    for number in range(12):
        receiver.hangs.setdefault(f"ops{number % 3}", threading.Event())
        add(f"ops{number % 3}", sequence=str(number))
    Server(worker).served.run(now)
    assert len(held(worker)) == 10


def test_no_lane_holds_more_than_its_share(
    receiver: Receiver, server: Server, worker: Worker, add: Add, now: datetime
) -> None:
    receiver.hangs["hangs"] = threading.Event()
    for number in range(MAX_PER_LANE - 1):
        add("hangs", sequence=str(number))
    server.served.run(now)
    for number in range(MAX_PER_LANE):
        add("hangs", sequence=f"later {number}")
    add("ops")
    server.send(now, 1)
    assert held(worker) == ["hangs"] * MAX_PER_LANE
    assert state("ops") == [(True, True, 1, "")]


@pytest.fixture
def short_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a claim look at no more messages than it takes of one lane."""
    monkeypatch.setattr(claims, "MAX_READ", MAX_PER_LANE)


@pytest.mark.usefixtures("short_look")
def test_the_lanes_behind_a_long_one_are_served(
    receiver: Receiver, server: Server, worker: Worker, add: Add, now: datetime
) -> None:
    receiver.hangs["hangs"] = threading.Event()
    for number in range(2 * MAX_PER_LANE):
        add("hangs", sequence=str(number))
    add("ops", due_at=now + SECOND)
    server.send(now + SECOND, 1)
    assert held(worker) == ["hangs"] * MAX_PER_LANE
    assert state("ops") == [(True, True, 1, "")]


def test_a_slow_lane_keeps_one_message(
    receiver: Receiver, server: Server, worker: Worker, add: Add, now: datetime
) -> None:
    receiver.hangs["slow"] = threading.Event()
    for number in range(3):
        add("slow", sequence=str(number))
    server.served.run(now)
    assert held(worker) == ["slow"] * 3
    assert not server.served.wants_to_run(now)
    server.time = SLOW_SECONDS
    assert server.served.wants_to_run(now)
    server.served.run(now)
    assert held(worker) == ["slow"]
    assert sorted(attempts for _, _, attempts, _ in state("slow")) == [0, 0, 1]
    assert not server.served.wants_to_run(now)
    receiver.hangs["slow"].set()
    server.time = 0
    server.send(now, 1)
    server.send(now, 2)
    assert receiver.sent == ["raised slow"] * 3


def test_what_no_worker_survives_is_given_up(
    receiver: Receiver, server: Server, add: Add, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    add("deadly")
    add("deadly", "cleared")
    now = lose(MAX_LOSSES, now)
    server.send(now, 0)
    assert state("deadly")[0] == (True, False, MAX_LOSSES, DIED)
    assert "is given up: The worker died 5 times" in caplog.text
    server.send(now, 1)
    assert receiver.sent == ["cleared deadly"]


def test_a_result_ends_a_row_of_losses(
    receiver: Receiver, server: Server, add: Add, now: datetime
) -> None:
    add("ops")
    receiver.raises["ops"] = ValueError("Not now.")
    now = lose(MAX_LOSSES - 1, now)
    server.send(now, 1)
    assert state("ops")[0][:3] == (False, False, MAX_LOSSES)
    assert Delivery.objects.get().losses == 0


def test_suspects_are_sent_one_at_a_time(
    receiver: Receiver, server: Server, worker: Worker, add: Add, now: datetime
) -> None:
    """So what kills a worker takes no other message with it again and again."""
    for name in ("a", "b", "c"):
        receiver.hangs[name] = threading.Event()
        add(name)
    now = lose(1, now)
    add("new", due_at=now)
    server.send(now, 1)
    assert held(worker) == ["a"]
    assert receiver.sent == ["raised new"]
    server.time = SLOW_SECONDS
    server.served.run(now)
    assert held(worker) == ["a", "b"]
    for hanging in receiver.hangs.values():
        hanging.set()
    server.send(now, 2)
    server.send(now, 1)
    assert sorted(receiver.sent) == ["raised a", "raised b", "raised c", "raised new"]


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Let no thread start, as at the limit of the system."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        yield patched


def test_a_message_waits_for_a_thread(
    server: Server,
    add: Add,
    now: datetime,
    no_threads: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    add("ops")
    add("boss")
    server.send(now, 0)
    assert "no thread can be started to send 2 messages" in caplog.text
    assert not server.served.busy
    assert state("ops") == [(False, False, 0, "")]
    no_threads.undo()
    server.send(now, 2)
    assert state("boss") == state("ops") == [(True, True, 1, "")]


def test_what_cannot_be_written_is_kept(
    receiver: Receiver, server: Server, add: Add, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.hangs["slow"] = threading.Event()
    for number in range(2):
        add("slow", sequence=str(number))
    server.served.run(now)
    server.time = SLOW_SECONDS
    with monkeypatch.context() as patched:
        patched.setattr(claims, "claimed_by", away)
        with pytest.raises(OperationalError):
            server.served.run(now)
    assert server.served.busy
    server.served.run(now)
    assert sorted(attempts for _, _, attempts, _ in state("slow")) == [0, 1]


def away(*_: Any, **__: Any) -> None:
    raise OperationalError("The database is away.")
