"""The thread executor: how many threads, for how long, and what a handler can do to one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.utils import timezone, translation

from example_project.shop.models import SalesReport
from scheduled_tasks import scheduled_task
from scheduled_tasks.executors.thread import ThreadExecutor
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.runtime.runs import Outcome
from tests.executors.runs import NOW, clock, run_of
from tests.support.processes import LONG, wait_until


class Collector:
    """A thread executor, and what came out of it."""

    def __init__(self, concurrency: int) -> None:
        self.told = threading.Semaphore(0)
        self.executor = ThreadExecutor(
            concurrency=concurrency, clock=clock, on_finished=self.told.release
        )

    def collect(self, number: int) -> list[Outcome]:
        """Wait until so many runs have ended, and return their outcomes."""
        for _ in range(number):
            assert self.told.acquire(timeout=LONG)
        outcomes = self.executor.finished()
        assert len(outcomes) == number
        return outcomes

    def run(self, function: Callable[..., Any]) -> Outcome:
        """Run one handler to its end."""
        scheduled_task(name=f"shop.{function.__name__}")(function)
        self.executor.submit(run_of(1, f"shop.{function.__name__}"))
        return self.collect(1)[0]


@pytest.fixture
def make(registry: HandlerRegistry) -> Iterator[Callable[[int], Collector]]:
    """Return a maker of executors, all closed at the end, with no thread left."""
    made: list[Collector] = []

    def maker(concurrency: int) -> Collector:
        made.append(Collector(concurrency))
        return made[-1]

    yield maker
    for collector in made:
        assert not collector.executor.in_hand
        collector.executor.close()
        assert not any(thread.is_alive() for thread in collector.executor._threads)


def thread_name() -> str:
    return threading.current_thread().name


def test_runs_go_on_together_up_to_concurrency(
    make: Callable[[int], Collector],
) -> None:
    together = threading.Barrier(3)

    @scheduled_task(name="shop.job")
    def job() -> str:
        together.wait(LONG)
        return thread_name()

    collector = make(3)
    for number in range(3):
        collector.executor.submit(run_of(number))
    assert collector.executor.free == 0
    assert {outcome.result for outcome in collector.collect(3)} == {"run-1", "run-2", "run-3"}
    assert collector.executor.free == 3


def test_what_is_submitted_beyond_the_concurrency_waits(make: Callable[[int], Collector]) -> None:
    running, most = [], []
    go = threading.Event()

    @scheduled_task(name="shop.job")
    def job() -> None:
        running.append(1)
        most.append(len(running))
        assert go.wait(LONG)
        running.pop()

    collector = make(2)
    for number in range(6):
        collector.executor.submit(run_of(number))
    assert len(collector.executor._threads) == 2
    go.set()
    outcomes = collector.collect(6)
    assert sorted(outcome.execution_id for outcome in outcomes) == list(range(6))
    assert {outcome.status for outcome in outcomes} == {"success"}
    assert max(most) <= 2


def test_one_thread_serves_runs_that_follow_each_other(make: Callable[[int], Collector]) -> None:
    collector = make(5)
    assert {collector.run(thread_name).result for _ in range(20)} == {"run-1"}
    assert len(collector.executor._threads) == 1


def test_outcomes_are_handed_over_once(make: Callable[[int], Collector]) -> None:
    collector = make(1)
    collector.run(thread_name)
    assert collector.executor.finished() == []
    assert collector.executor.in_hand == {}


@pytest.mark.parametrize(
    "error", [SystemExit(0), KeyboardInterrupt(), GeneratorExit(), MemoryError()], ids=repr
)
def test_no_exception_ends_the_thread(
    make: Callable[[int], Collector], error: BaseException
) -> None:
    def job() -> None:
        raise error

    collector = make(1)
    assert collector.run(job).status == "failed"
    assert collector.run(thread_name).result == "run-1"


def test_closing_before_any_run_is_nothing(make: Callable[[int], Collector]) -> None:
    collector = make(3)
    collector.executor.close()
    assert threading.active_count() >= 1


def test_closing_does_not_wait_for_a_busy_thread(
    registry: HandlerRegistry,
) -> None:
    go, busy = threading.Event(), threading.Event()

    @scheduled_task(name="shop.hold")
    def hold() -> str:
        busy.set()
        assert go.wait(LONG)
        return "done"

    collector = Collector(2)
    collector.executor.submit(run_of(1, "shop.hold"))
    scheduled_task(name="shop.job")(thread_name)
    collector.executor.submit(run_of(2))
    assert busy.wait(LONG)
    assert [outcome.execution_id for outcome in collector.collect(1)] == [2]
    collector.executor.close()
    threads = collector.executor._threads
    assert all(thread.daemon for thread in threads)
    wait_until(lambda: sum(thread.is_alive() for thread in threads) == 1, within=LONG)
    assert list(collector.executor.in_hand) == [1]
    go.set()
    assert collector.collect(1)[0].result == "done"
    for thread in threads:
        thread.join(LONG)
    assert not any(thread.is_alive() for thread in threads)


def test_what_a_run_activates_is_gone_with_it(make: Callable[[int], Collector]) -> None:
    def activate() -> None:
        translation.activate("de")
        timezone.activate("Asia/Tokyo")

    def look() -> list[str]:
        return [translation.get_language(), timezone.get_current_timezone_name()]

    collector = make(1)
    collector.run(activate)
    assert collector.run(look).result == ["en-us", "UTC"]


def write_a_report() -> None:
    SalesReport.objects.create(until=NOW, orders=1, revenue=1)


@pytest.mark.django_db(transaction=True)
def test_a_handlers_writes_are_committed_before_its_outcome(
    make: Callable[[int], Collector],
) -> None:
    assert make(1).run(write_a_report).status == "success"
    assert SalesReport.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_persistent_connections_are_closed_with_their_threads(
    make: Callable[[int], Collector], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", None)
    used = []

    def job() -> None:
        SalesReport.objects.count()
        used.append(connections["default"])

    collector = make(1)
    collector.run(job)
    collector.run(job)
    assert used[0] is used[1]
    collector.executor.close()
    assert used[0].connection is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", ["autocommit", "atomic", "failed atomic"])
def test_an_open_transaction_is_rolled_back_between_runs(
    make: Callable[[int], Collector], how: str
) -> None:
    def leave_open() -> None:
        if how == "autocommit":
            transaction.set_autocommit(False)
        else:
            transaction.atomic().__enter__()
        write_a_report()
        if how == "failed atomic":
            raise ValueError

    collector = make(1)
    collector.run(leave_open)
    assert not SalesReport.objects.exists()
    assert collector.run(write_a_report).status == "success"
    assert SalesReport.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_broken_connection_is_replaced_between_runs(
    make: Callable[[int], Collector],
) -> None:
    def break_it() -> None:
        connection.ensure_connection()
        connection.connection.close()

    collector = make(1)
    assert collector.run(break_it).status == "success"
    assert collector.run(write_a_report).status == "success"


@pytest.mark.django_db(transaction=True)
def test_a_failed_statement_does_not_spoil_later_runs(
    make: Callable[[int], Collector],
) -> None:
    def fail() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nonsense FROM nowhere")

    collector = make(1)
    assert collector.run(fail).error_category == "database"
    assert collector.run(write_a_report).status == "success"


def test_a_run_that_cannot_be_made_has_failed(
    make: Callable[[int], Collector], monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = make(1)
    with monkeypatch.context() as broken:
        broken.setattr("scheduled_tasks.executors.local_run.perform", None)
        outcome = collector.run(thread_name)
    assert (outcome.status, outcome.error_category, outcome.retryable) == ("failed", "logic", True)
    assert outcome.error.startswith("TypeError: ")
    assert collector.executor.free == 1
    collector.executor.submit(run_of(2, "shop.thread_name"))
    assert collector.collect(1)[0].result == "run-1"


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_cannot_close_loses_no_outcome(
    make: Callable[[int], Collector],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    wrappers = []
    really_close = type(connections["default"]).close

    def close(self: Any) -> None:
        really_close(self)
        raise OperationalError("the connection is in no state to be closed")

    def leave_a_transaction_open() -> bool:
        wrappers.append(connections["default"])
        inherited = connection.in_atomic_block
        transaction.atomic().__enter__()
        return inherited

    collector = make(1)
    with monkeypatch.context() as broken:
        broken.setattr(type(connections["default"]), "close", close)
        assert collector.run(leave_a_transaction_open).status == "success"
    assert "could not be closed" in caplog.text
    collector.executor.submit(run_of(2, "shop.leave_a_transaction_open"))
    assert collector.collect(1)[0].result is False
    assert wrappers[0] is not wrappers[1]
