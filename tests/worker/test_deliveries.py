"""The outbox as a worker serves it: once each, in order, and nothing that hangs stops the rest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connections

from scheduled_tasks.conf import AppSettings
from scheduled_tasks.exceptions import PermanentError
from scheduled_tasks.models import Delivery, Worker
from scheduled_tasks.monitoring.outbox import claims, messages
from scheduled_tasks.monitoring.outbox.claims import (
    DIED,
    GIVE_UP_AFTER,
    MAX_LOSSES,
    DeliveryResult,
    Room,
    claim_deliveries,
)
from scheduled_tasks.worker import lanes
from scheduled_tasks.worker.deliveries import (
    MAX_CLAIMED,
    MAX_PER_LANE,
    MAX_SENDING_SECONDS,
    MAX_STUCK_THREADS,
    SLOW_SECONDS,
    Deliveries,
)
from tests.support.attempts import make_worker

SECOND = timedelta(seconds=1)
LONG = 30.0
LEASE = AppSettings().LEASE

pytestmark = pytest.mark.django_db(transaction=True)


class Receiver:
    """Stands for all receivers: what it was sent, and what it answers by target."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.raises: dict[str, BaseException] = {}
        self.hangs: dict[str, threading.Event] = {}
        self.notes: dict[str, str] = {}

    def send(self, delivery: Delivery) -> str:
        if delivery.target in self.hangs:
            assert self.hangs[delivery.target].wait(LONG)
        self.sent.append(f"{delivery.event} {delivery.target}")
        if error := self.raises.get(delivery.target):
            raise error
        return self.notes.get(delivery.target, "")


class Server:
    """A worker that serves the outbox, with a clock that the test moves."""

    def __init__(self, worker: Worker) -> None:
        self.time = 0.0
        self.results = threading.Semaphore(0)
        self.served = Deliveries(
            worker, on_result=self.results.release, monotonic=lambda: self.time
        )

    def send(self, now: datetime, count: int) -> None:
        """Serve, and record ``count`` results when they are there."""
        self.served.run(now)
        for _ in range(count):
            assert self.results.acquire(timeout=LONG)
        self.served.record(now)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    receiver = Receiver()
    monkeypatch.setattr(lanes, "send", receiver.send)
    monkeypatch.setattr(lanes, "monotonic", lambda: 0.0)
    yield receiver
    for hanging in receiver.hangs.values():
        hanging.set()


@pytest.fixture
def server(worker: Worker) -> Server:
    return Server(worker)


@pytest.fixture
def add(now: datetime) -> Callable[..., Delivery]:
    """Return a maker of messages that are due."""

    def make(target: str, event: str = "raised", **fields: Any) -> Delivery:
        given = {"sequence": target, "lane": target, "created_at": now, "due_at": now, **fields}
        return Delivery.objects.create(transport="notifier", event=event, target=target, **given)

    return make


Add = Callable[..., Delivery]


def claim(worker: str, now: datetime) -> list[Delivery]:
    """Claim what a worker would claim that holds nothing yet."""
    return claim_deliveries(worker, now, Room(total=MAX_CLAIMED, per_lane=MAX_PER_LANE)).rows


def state(target: str) -> list[tuple[bool, bool, int, str]]:
    """Return of the messages to a target whether they are finished, delivered, tries and error."""
    rows = Delivery.objects.filter(target=target).order_by("pk")
    return [(bool(row.finished_at), row.delivered, row.attempts, row.error) for row in rows]


def test_what_is_due_is_sent_once(
    receiver: Receiver, server: Server, add: Add, now: datetime
) -> None:
    for number in range(50):
        add(f"ops{number}")
    add("later", due_at=now + SECOND)
    server.send(now, 50)
    server.send(now, 0)
    assert len(receiver.sent) == len(set(receiver.sent)) == 50
    assert not server.served.busy
    server.send(now + SECOND, 1)
    assert state("later") == [(True, True, 1, "")]


def test_what_is_worth_noting_stays_on_record(
    receiver: Receiver, server: Server, add: Add, now: datetime
) -> None:
    add("ops")
    receiver.notes["ops"] = "Not sent to what is no address: x."
    server.send(now, 1)
    assert state("ops") == [(True, True, 1, "Not sent to what is no address: x.")]


def test_messages_of_one_sequence_go_in_order(
    receiver: Receiver, server: Server, add: Add, now: datetime
) -> None:
    for event in ("raised", "reminder", "cleared"):
        add("ops", event)
    receiver.raises["ops"] = ValueError("Not now.")
    server.send(now, 1)
    assert receiver.sent == ["raised ops"]
    del receiver.raises["ops"]
    for seconds in (1, 2, 3):
        server.send(now + seconds * SECOND, 1)
    assert receiver.sent[1:] == ["raised ops", "reminder ops", "cleared ops"]


@pytest.fixture
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    assert timedelta(hours=24) == GIVE_UP_AFTER
    monkeypatch.setattr(claims, "GIVE_UP_AFTER", timedelta(hours=1))


@pytest.mark.usefixtures("little_patience")
def test_what_fails_is_tried_again_later(
    receiver: Receiver, server: Server, add: Add, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    add("ops")
    receiver.raises["ops"] = ValueError("password=hunter2 is wrong")
    moment, gaps = now, []
    while not state("ops")[0][0]:
        server.send(moment, 1)
        due = Delivery.objects.get().due_at
        assert server.served.retry_at in (due, None)
        gaps.append(round((due - moment).total_seconds()))
        moment = max(due, moment + SECOND)
    assert gaps[:11] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert timedelta(minutes=50) < moment - now <= timedelta(hours=1)
    [(_, delivered, _, error)] = state("ops")
    assert not delivered
    assert "hunter2" not in error
    assert "is given up" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("error", [PermanentError("Gone."), SystemExit(3), KeyboardInterrupt()])
def test_what_makes_no_sense_is_given_up(
    receiver: Receiver, server: Server, add: Add, now: datetime, error: BaseException
) -> None:
    add("ops")
    add("boss")
    receiver.raises["ops"] = error
    server.send(now, 2)
    assert state("boss") == [(True, True, 1, "")]
    assert state("ops")[0][0] == isinstance(error, PermanentError)


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
    assert "was not sent within 60 s" in first.error
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


def test_two_workers_send_each_message_once(
    receiver: Receiver, server: Server, add: Add, now: datetime
) -> None:
    second = Server(make_worker("second", now))
    for number in range(60):
        add(f"ops{number}")
    threads = [threading.Thread(target=in_thread, args=(each, now)) for each in (server, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in (server, second):
        each.served.close(now, seconds=LONG)
    assert len(receiver.sent) == len(set(receiver.sent)) == 60


def in_thread(server: Server, now: datetime) -> None:
    try:
        server.served.run(now)
    finally:
        connections.close_all()


def test_another_sends_what_a_dead_worker_had(
    receiver: Receiver, server: Server, add: Add, now: datetime
) -> None:
    add("ops")
    assert claim("dead", now)
    server.send(now + (LEASE - 1) * SECOND, 0)
    assert receiver.sent == []
    server.send(now + LEASE * SECOND, 1)
    assert state("ops") == [(True, True, 2, "")]
    late = DeliveryResult(Delivery.objects.get().pk, "Too late.")
    assert claims.record_results("dead", [late], now) == []


def test_what_is_being_sent_stays_claimed(
    receiver: Receiver, server: Server, add: Add, now: datetime
) -> None:
    receiver.hangs["ops"] = threading.Event()
    add("ops")
    server.served.run(now)
    server.time = LEASE / 2
    later = now + LEASE / 2 * SECOND
    server.served.run(later)
    assert Delivery.objects.get().claimed_until == later + LEASE * SECOND
    assert claim("other", now + LEASE * SECOND) == []


def test_a_worker_claims_nothing_that_it_is_sending(
    receiver: Receiver, server: Server, add: Add, now: datetime
) -> None:
    receiver.hangs["ops"] = threading.Event()
    add("ops")
    server.served.run(now)
    server.served.run(now + 2 * LEASE * SECOND)
    assert Delivery.objects.get().attempts == 1
    receiver.hangs["ops"].set()
    server.served.close(now, seconds=LONG)
    assert receiver.sent == ["raised ops"]


def test_a_stopping_worker_gives_back_the_rest(
    receiver: Receiver, server: Server, add: Add, now: datetime
) -> None:
    receiver.hangs["ops"] = threading.Event()
    first = add("ops", sequence="first")
    for number in range(3):
        add("ops", sequence=str(number))
    server.served.run(now)
    server.served.wind_down(now)
    receiver.hangs["ops"].set()
    server.served.close(now, seconds=LONG)
    assert receiver.sent == ["raised ops"]
    assert [row.pk for row in Delivery.objects.filter(delivered=True)] == [first.pk]
    assert {row.attempts for row in Delivery.objects.filter(delivered=False)} == {0}
    assert len(claim("other", now)) == 3


def test_what_was_held_back_is_tried_again(
    receiver: Receiver, server: Server, add: Add, now: datetime
) -> None:
    add("ops", created_at=now - 2 * GIVE_UP_AFTER)
    receiver.raises["ops"] = ValueError("Not now.")
    server.send(now, 1)
    assert state("ops")[0][:3] == (False, False, 1)
    Delivery.objects.update(attempts=2_000)
    server.send(now + SECOND, 1)
    assert state("ops")[0][:3] == (True, False, 2_001)


def held(worker: Worker) -> list[str]:
    """Return the lanes of what a worker has claimed."""
    rows = Delivery.objects.pending().filter(claimed_by=str(worker.pk))
    return list(rows.exclude(claimed_until=None).order_by("pk").values_list("lane", flat=True))


def test_one_round_claims_a_bounded_number(
    receiver: Receiver, server: Server, worker: Worker, add: Add, now: datetime
) -> None:
    for number in range(MAX_CLAIMED + 1):
        receiver.hangs.setdefault(f"ops{number % 30}", threading.Event())
        add(f"ops{number % 30}", sequence=str(number))
    server.served.run(now)
    assert len(held(worker)) == MAX_CLAIMED


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


def test_the_lanes_behind_a_long_one_are_served(
    receiver: Receiver,
    server: Server,
    worker: Worker,
    add: Add,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(claims, "MAX_READ", MAX_PER_LANE)
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


def lose(number: int, now: datetime) -> datetime:
    """Let so many workers die, each while it sends what it can claim; return when."""
    for turn in range(number):
        claim(f"dead {turn}", now)
        now += LEASE * SECOND
    return now


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
    receiver: Receiver,
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
    assert sorted(receiver.sent) == ["raised boss", "raised ops"]


def test_a_stopping_worker_keeps_what_it_sends(
    receiver: Receiver, server: Server, worker: Worker, add: Add, now: datetime
) -> None:
    receiver.hangs["ops"] = threading.Event()
    add("ops")
    server.served.run(now)
    add("new")
    server.time = LEASE / 2
    server.served.wind_down(now + LEASE / 2 * SECOND)
    assert held(worker) == ["ops"]
    assert [row.lane for row in claim("other", now + LEASE * SECOND)] == ["new"]


def test_a_worker_sends_its_last_messages(
    receiver: Receiver, server: Server, add: Add, now: datetime
) -> None:
    server.served.run(now)
    add("ops")
    messages.announce("default")
    server.served.close(now, seconds=LONG)
    assert state("ops") == [(True, True, 1, "")]


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
