"""What a notifier may do to the thread that calls it harms no other message."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scheduled_tasks.models import Delivery
from scheduled_tasks.monitoring.outbox.claims import DeliveryResult
from scheduled_tasks.worker import lanes
from scheduled_tasks.worker.lanes import Lane
from tests.support.processes import LONG


def send_all(count: int) -> list[DeliveryResult]:
    """Send messages with the ids 1, 2, … in one lane; return what came of them."""
    results: list[DeliveryResult] = []
    lane = Lane("notifier ops", results.append)
    for number in range(count):
        lane.add(Delivery(pk=number + 1))
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
