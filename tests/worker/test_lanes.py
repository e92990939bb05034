"""What a notifier may do to the thread that calls it harms no other message."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import Error, connection, transaction

from scheduled_tasks.models import Delivery, Lock
from scheduled_tasks.monitoring.outbox.claims import DeliveryResult
from scheduled_tasks.worker import lanes
from scheduled_tasks.worker.lanes import Lane
from tests.support.processes import LONG


def send_all(count: int) -> list[DeliveryResult]:
    """Send messages with the ids 1, 2, … in one lane; return what came of them."""
    results: list[DeliveryResult] = []
    lane = Lane("notifier ops", results.append)
    for number in range(count):
        lane.add(Delivery(pk=number + 1, lane=lane.name))
    lane.thread.start()
    lane.thread.join(LONG)
    return results


def fail() -> None:
    raise ValueError("in the forked process")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
# Since Python 3.12, for every fork of a process with threads.
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("leave", "status"), [(sys.exit, 0), (lambda: sys.exit("No."), 1), (fail, 1), (str, 0)]
)
def test_a_forked_process_leaves_the_lane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leave: Callable[[], object], status: int
) -> None:
    sent, statuses = tmp_path / "sent", []

    def send(delivery: Delivery) -> None:
        if delivery.pk == 1:
            if (pid := os.fork()) == 0:
                leave()
                return
            statuses.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        with sent.open("a") as file:
            file.write(str(delivery.pk))

    monkeypatch.setattr(lanes, "send", send)
    assert send_all(3) == [DeliveryResult(pk) for pk in (1, 2, 3)]
    assert sent.read_text() == "123"
    assert statuses == [status]


def begin_atomic() -> None:
    transaction.atomic().__enter__()  # and never the end of it


def begin_by_hand() -> None:
    transaction.set_autocommit(False)


def begin_by_sql() -> None:
    connection.cursor().execute("BEGIN")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("begin", [begin_atomic, begin_by_hand, begin_by_sql])
def test_an_open_transaction_is_rolled_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, begin: Callable[[], None]
) -> None:
    found = []

    def send(delivery: Delivery) -> None:
        found.append((transaction.get_autocommit(), Lock.objects.count()))
        if delivery.pk == 1:
            begin()
            lock(delivery)

    monkeypatch.setattr(lanes, "send", send)
    assert send_all(2) == [DeliveryResult(1), DeliveryResult(2)]
    assert found == [(True, 0)] * 2
    said = "notifier ops has left a transaction open in the database 'default'. It is rolled back"
    assert caplog.text.count(said) == 1


@pytest.mark.django_db(transaction=True)
def test_a_broken_connection_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    def send(delivery: Delivery) -> None:
        lock(delivery)
        if delivery.pk == 1:
            connection.connection.close()
            with suppress(Error):
                Lock.objects.count()

    monkeypatch.setattr(lanes, "send", send)
    assert send_all(2) == [DeliveryResult(1), DeliveryResult(2)]
    assert Lock.objects.count() == 2


def lock(delivery: Delivery) -> None:
    """Write a row."""
    Lock.objects.create(name=str(delivery.pk), token="x", expires_at=datetime.now(UTC))
