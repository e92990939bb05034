"""A hanging connection is cut, as if the server were gone; a process that still hangs is ended.

The tests make the checks themselves: no thread of a watchdog runs.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction

from scheduled_tasks.conf import app_settings
from scheduled_tasks.worker import watchdog as module
from scheduled_tasks.worker.watchdog import (
    CUT_AFTER_CHECKS,
    EXIT_AFTER_CHECKS,
    EXIT_CODE,
    Watchdog,
    WatchedConnection,
)
from tests.chaos.proxy import Proxy
from tests.support.database_proxy import proxy_before_the_database, through
from tests.support.processes import LONG, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def postgresql(settings: Any) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("Only connections of PostgreSQL can be cut.")
    settings.SCHEDULED_TASKS = {"LEASE": 12, "HEARTBEAT_INTERVAL": 1}


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with proxy_before_the_database() as proxy:
        yield proxy


class Patient:
    """A watched thread that uses the database through a proxy."""

    def __init__(self, watchdog: Watchdog, proxy: Proxy) -> None:
        self.pool = ThreadPoolExecutor(max_workers=1)
        self.watchdog = watchdog
        self.proxy = proxy

    def do(self, work: Callable[[], Any]) -> Future[Any]:
        """Start work in the thread; return its future."""

        def watched() -> Any:
            with through(self.proxy), self.watchdog.watching():
                return work()

        return self.pool.submit(watched)

    @property
    def waits(self) -> bool:
        """Whether a statement of it is in progress."""
        return any(watched.statement_in_progress() for watched in self.watchdog._watched)


@pytest.fixture
def patient(proxy: Proxy) -> Iterator[Patient]:
    patient = Patient(Watchdog(), proxy)
    yield patient
    proxy.let_go()
    patient.pool.shutdown()


def ask(number: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::int", [number])
        return int(cursor.fetchone()[0])


def look(watchdog: Watchdog, times: int) -> None:
    for _ in range(times):
        watchdog.check()


def test_an_unanswered_statement_is_cut(
    patient: Patient,
) -> None:
    connected = threading.Event()
    failed: list[str] = []

    def ask_until_it_answers() -> int:
        ask(1)
        patient.proxy.hold()
        connected.set()
        try:
            ask(2)
        except OperationalError as error:
            failed.append(str(error))
            connections.close_all()
        patient.proxy.let_go()
        return ask(3)

    answer = patient.do(ask_until_it_answers)
    assert connected.wait(LONG)
    wait_until(lambda: patient.waits, within=LONG)
    look(patient.watchdog, CUT_AFTER_CHECKS)
    assert not answer.done()
    look(patient.watchdog, 1)
    assert answer.result(timeout=LONG) == 3
    assert failed


def test_an_unanswered_commit_is_cut(patient: Patient) -> None:
    held = threading.Event()

    def commit() -> None:
        with transaction.atomic():
            ask(1)
            patient.proxy.hold()
            held.set()

    done = patient.do(commit)
    assert held.wait(LONG)
    wait_until(lambda: patient.waits, within=LONG)
    look(patient.watchdog, CUT_AFTER_CHECKS + 1)
    assert isinstance(done.exception(timeout=LONG), OperationalError)


def test_answered_statements_are_not_cut(
    patient: Patient,
) -> None:
    """Each check finds a different statement in progress."""
    steps = [threading.Event() for _ in range(EXIT_AFTER_CHECKS + 1)]
    begun = threading.Semaphore(0)

    def ask_slowly() -> int:
        for number, step in enumerate(steps):
            ask(number)
            patient.proxy.hold()
            begun.release()
            ask(number)
            assert step.is_set()
        return len(steps)

    answer = patient.do(ask_slowly)
    for step in steps:
        assert begun.acquire(timeout=LONG)
        wait_until(lambda: patient.waits, within=LONG)
        patient.watchdog.check()
        step.set()
        patient.proxy.let_go()
    assert answer.result(timeout=LONG) == len(steps)


def test_a_process_that_still_hangs_is_ended(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(module.os, "_exit", codes.append)
    held = threading.Event()

    def hang() -> int:
        ask(1)
        patient.proxy.hold()
        held.set()
        return ask(2)

    with monkeypatch.context() as in_vain:
        in_vain.setattr(WatchedConnection, "cut", lambda self: None)
        answer = patient.do(hang)
        assert held.wait(LONG)
        wait_until(lambda: patient.waits, within=LONG)
        look(patient.watchdog, EXIT_AFTER_CHECKS)
        assert codes == []
        look(patient.watchdog, 1)
    assert codes == [EXIT_CODE]
    assert "the process ends" in caplog.text
    patient.proxy.let_go()
    assert answer.result(timeout=LONG) == 2


def test_an_idle_connection_is_left_alone(patient: Patient) -> None:
    watchdog = patient.watchdog

    def be_looked_at_between_two_statements() -> int:
        with transaction.atomic():
            ask(1)
            look(watchdog, EXIT_AFTER_CHECKS + 1)
            return ask(2)

    assert patient.do(be_looked_at_between_two_statements).result(timeout=LONG) == 2


def test_a_finished_statement_is_not_cut(patient: Patient) -> None:
    watchdog = patient.watchdog

    def look_too_late() -> int:
        ask(1)
        [watched] = watchdog._watched
        watched._seen = (watched.connection.connection.pgconn, 1)
        watched.cut()
        watched.connection.close()
        watched.cut()
        return ask(2)

    assert patient.do(look_too_late).result(timeout=LONG) == 2


def test_a_silent_server_times_out(
    patient: Patient,
) -> None:
    patient.proxy.hold()
    failure = patient.do(lambda: ask(1)).exception(timeout=LONG)
    assert isinstance(failure, OperationalError)
    assert "timeout" in str(failure)


@pytest.mark.parametrize(
    ("lease", "given", "expected"),
    [(60, {}, 10), (600, {}, 10), (18, {}, 3), (1, {}, 2), (60, {"connect_timeout": 4}, 4)],
)
def test_a_connect_timeout_is_set_by_default(
    settings: Any, lease: int, given: dict[str, int], expected: int
) -> None:
    settings.SCHEDULED_TASKS = {"LEASE": lease, "HEARTBEAT_INTERVAL": 0.25}
    before = connection.settings_dict
    connection.settings_dict = {**before, "OPTIONS": {**before["OPTIONS"], **given}}
    try:
        with Watchdog().watching():
            assert connection.get_connection_params()["connect_timeout"] == expected
        assert connection.settings_dict["OPTIONS"] == {**before["OPTIONS"], **given}
    finally:
        connection.settings_dict = before


def test_the_connect_timeout_of_the_environment_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "PGCONNECT_TIMEOUT", "3")
    with Watchdog().watching():
        assert "connect_timeout" not in connection.get_connection_params()


def test_checks_are_frequent_enough_for_a_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    watchdog = Watchdog()
    pauses: list[float] = []

    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        return len(pauses) > EXIT_AFTER_CHECKS

    looks: list[int] = []
    monkeypatch.setattr(watchdog._stop, "wait", wait)
    monkeypatch.setattr(watchdog, "check", lambda: looks.append(1))
    watchdog._run()
    assert sum(pauses) <= app_settings.LEASE
    assert len(looks) == EXIT_AFTER_CHECKS


@contextmanager
def started() -> Iterator[Watchdog]:
    watchdog = Watchdog()
    watchdog.start()
    try:
        yield watchdog
    finally:
        watchdog.stop()


def test_it_watches_its_starting_thread_until_stopped() -> None:
    with started() as watchdog:
        assert [watched.connection for watched in watchdog._watched] == [connection]
        assert watchdog._thread.is_alive()
    assert watchdog._watched == []
    assert not watchdog._thread.is_alive()
    assert connection.execute_wrappers == []
