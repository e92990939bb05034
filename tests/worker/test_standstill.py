"""A hanging loop ends its process, since other workers would trust its heartbeat."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from scheduled_tasks.models import Task
from scheduled_tasks.operations.tasks import run_task_now
from scheduled_tasks.signals import execution_finished
from scheduled_tasks.worker import watchdog
from scheduled_tasks.worker.scheduler import Scheduler
from scheduled_tasks.worker.watchdog import EXIT_CODE, MAX_ROUND_SECONDS, Watchdog
from tests.support.attempts import NOTHING
from tests.support.processes import LONG, wait_until

#: As many looks are made in the longest round, by the lease that is the default.
MAX_CHECKS = round(MAX_ROUND_SECONDS / 5)


@pytest.fixture
def codes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the exit statuses of the process."""
    codes: list[int] = []
    monkeypatch.setattr(watchdog.os, "_exit", codes.append)
    return codes


def look(watching: Watchdog, times: int) -> None:
    for _ in range(times):
        watching.check()


def test_a_loop_that_makes_rounds_is_left_alone(codes: list[int]) -> None:
    watching = Watchdog()
    for _ in range(3):
        watching.rounds.begin()
        look(watching, MAX_CHECKS)
    assert codes == []


def test_a_hanging_loop_logs_its_stack_and_exits(
    codes: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    watching = Watchdog()
    watching.rounds.begin()
    look(watching, MAX_CHECKS + 1)
    assert codes == [EXIT_CODE]
    assert "the loop of this worker hangs" in caplog.text
    assert "test_a_hanging_loop" in caplog.text


def test_a_process_without_rounds_is_left_alone(codes: list[int]) -> None:
    look(Watchdog(), 2 * MAX_CHECKS)
    assert codes == []


def test_a_longer_lease_lets_rounds_last_longer(codes: list[int], settings: Any) -> None:
    """A sleep is part of a round, and grows with the lease."""
    settings.SCHEDULED_TASKS = {"LEASE": 36_000}
    watching = Watchdog()
    watching.rounds.begin()
    look(watching, watchdog.CHECKS_PER_LEASE)
    assert codes == []
    look(watching, 1)
    assert codes == [EXIT_CODE]


def test_a_hanging_log_does_not_keep_the_process(
    codes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    monkeypatch.setattr(watchdog, "MAX_LOGGING_SECONDS", 0.01)
    monkeypatch.setattr(watchdog.logger, "critical", lambda *_: go.wait(LONG))
    watchdog.end_process("of a test")
    go.set()
    assert codes == [EXIT_CODE]


@pytest.fixture
def hanging() -> Iterator[threading.Event]:
    """Let a receiver hang until the event is set."""
    go = threading.Event()

    def hang(**_: Any) -> None:
        assert go.wait(LONG)

    execution_finished.connect(hang)
    yield go
    go.set()
    execution_finished.disconnect(hang)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("nothing")
def test_a_hanging_receiver_is_named_in_the_log(
    make_task: Callable[..., Task],
    scheduler: Callable[..., Scheduler],
    hanging: threading.Event,
    codes: list[int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    make_task("answer", NOTHING)
    run_task_now("answer")
    worker = scheduler()

    def look_until_it_is_found() -> None:
        wait_until(lambda: "go.wait(LONG)" in worker.engine.watchdog.rounds.where, within=LONG)
        look(worker.engine.watchdog, MAX_CHECKS + 1)
        hanging.set()

    observer = threading.Thread(target=look_until_it_is_found)
    observer.start()
    worker.run_once()
    observer.join()
    assert EXIT_CODE in codes
    assert "go.wait(LONG)" in caplog.text
