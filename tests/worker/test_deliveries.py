"""The outbox as a worker serves it: once each, in order, and nothing is lost with a worker."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import Any

import pytest
from django.db import connections

from scheduled_tasks.exceptions import NotSent, PartlySent, PermanentError
from scheduled_tasks.models import Delivery, Worker
from scheduled_tasks.monitoring.heartbeats.dialects import Report
from scheduled_tasks.monitoring.outbox import claims, messages
from scheduled_tasks.monitoring.outbox.claims import (
    GIVE_UP_AFTER,
    DeliveryResult,
)
from scheduled_tasks.worker.deliveries import Deliveries
from tests.support.attempts import make_worker
from tests.support.processes import LONG
from tests.worker.served_outbox import (
    LEASE,
    SECOND,
    Add,
    Receiver,
    Server,
    claim,
    state,
)

pytestmark = pytest.mark.django_db(transaction=True)


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
    note = "Not sent to x, which is not an address."
    receiver.raises["ops"] = PartlySent(note, refused=note)
    server.send(now, 1)
    assert state("ops") == [(True, True, 1, note)]


def test_receivers_that_are_left_stay_on_record(
    receiver: Receiver, server: Server, add: Add, now: datetime
) -> None:
    add("ops")
    note, busy = "Not sent to x.", "Not sent to y for now."
    receiver.raises["ops"] = PartlySent(f"{note} {busy}", left=["y"], refused=note)
    server.send(now, 1)
    assert state("ops") == [(False, False, 1, f"{note} {busy}")]
    assert Delivery.objects.get().left == ["y"]
    receiver.raises["ops"] = NotSent("No server.")
    server.send(now + SECOND, 1)
    assert state("ops") == [(False, False, 2, f"{note} No server.")]
    assert Delivery.objects.get().left == ["y"]
    del receiver.raises["ops"]
    server.send(now + 3 * SECOND, 1)
    assert state("ops") == [(True, True, 3, note)]


def test_whatever_is_left_can_be_stored(
    receiver: Receiver, server: Server, add: Add, now: datetime
) -> None:
    add("ops")
    receiver.raises["ops"] = PartlySent("No.", left=["a\0b", 7], refused=7)  # type: ignore[arg-type, list-item]
    server.send(now, 1)
    assert state("ops") == [(False, False, 1, "No.")]
    assert (Delivery.objects.get().left, Delivery.objects.get().refused) == (["a\ufffdb", "7"], "7")


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


def test_the_log_names_the_task_of_a_heartbeat(
    receiver: Receiver, server: Server, add: Add, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    url = "https://hc-ping.com/hunter2"
    body = Report(execution_id=7, task_name="sleepy").as_json()
    heartbeat = add(url, "success", transport="heartbeat", body=body)
    receiver.raises[url] = NotSent("No answer.")
    server.send(now, 1)
    what = f"message {heartbeat.pk}, the heartbeat (success) of the task 'sleepy',"
    assert caplog.messages == [f"{what} could not be sent, trying again: No answer."]


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


def test_what_is_given_back_twice_counts_once(add: Add, now: datetime) -> None:
    """The answer to the first COMMIT may have been lost."""
    add("ops")
    [row] = claim("w", now)
    for _ in range(2):
        claims.release_claims("w", [row.pk])
    assert Delivery.objects.get().attempts == 0


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
    server.served.close(now, seconds=0)
    assert {row.attempts for row in Delivery.objects.exclude(pk=first.pk)} == {0}
    assert len(claim("other", now)) == 3
    receiver.hangs["ops"].set()
    server.served.close(now, seconds=LONG)
    assert receiver.sent == ["raised ops"]


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


def test_a_stopping_worker_keeps_its_claims(
    receiver: Receiver, worker: Worker, add: Add, now: datetime, settings: Any
) -> None:
    """Others must not send what it is still sending."""
    settings.SCHEDULED_TASKS = {"LEASE": 0.4, "HEARTBEAT_INTERVAL": 0.1}
    receiver.hangs["ops"] = threading.Event()
    add("ops")
    # Each look at the clock moves it.
    served = Deliveries(worker, monotonic=partial(next, count(step=0.1)))
    served.run(now)
    served.close(now, seconds=2)
    claimed_until = Delivery.objects.get().claimed_until
    assert claimed_until is not None
    assert claimed_until > now + 1.5 * SECOND
    assert claim("other", now + SECOND) == []


def test_a_worker_sends_its_last_messages(
    receiver: Receiver, server: Server, add: Add, now: datetime
) -> None:
    server.served.run(now)
    add("ops")
    messages.announce("default")
    server.served.close(now, seconds=LONG)
    assert state("ops") == [(True, True, 1, "")]
