"""The thread that listens for notifications, and what it does when they do not arrive."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, transaction

from scheduled_tasks.models.sql.notify import CHANNEL, WAKE, notify, wake_workers
from scheduled_tasks.worker import listener
from scheduled_tasks.worker.listen_connection import DEFAULTS, ListenConnection, parameters
from tests.chaos.proxy import Proxy
from tests.support.database_proxy import proxy_before_the_database
from tests.support.listening import (
    Heard,
    address,
    end_the_listening_connection,
    listening,
    listening_well,
    needs_postgresql,
)
from tests.support.processes import LONG, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def on_postgresql() -> None:
    """Skip these tests on other databases."""
    needs_postgresql()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make retries fast."""
    monkeypatch.setattr(listener, "MIN_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(listener, "MAX_RETRY_SECONDS", 0.1)
    monkeypatch.setattr(listener, "MAX_VERIFY_SECONDS", 0.5)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """Return a proxy before the test database."""
    with proxy_before_the_database() as proxy:
        yield proxy


def configure(settings: Any, dsn: str) -> None:
    settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, "LISTEN_DSN": dsn}


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [said.getMessage() for said in caplog.records if said.levelno >= logging.WARNING]


def is_deaf(heard: Heard) -> bool:
    return heard.listener._failures > 1 and not heard.listener.verified


def test_a_committed_notification_wakes_the_worker() -> None:
    with listening_well() as heard:
        with transaction.atomic():
            wake_workers("default")
            notify("default", "no wake-up")
            assert heard.times == 0
        wait_until(lambda: heard.times == 1, within=LONG)


def test_rollbacks_and_verifications_do_not_wake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    messages: list[str] = []
    receive = ListenConnection.receive

    def receive_and_note(connection: ListenConnection, seconds: float) -> list[str]:
        heard = receive(connection, seconds)
        messages.extend(heard)
        return heard

    monkeypatch.setattr(ListenConnection, "receive", receive_and_note)
    with listening_well() as heard:
        with transaction.atomic():
            wake_workers("default")
            transaction.set_rollback(True)
        for message in ("the proof of another worker", WAKE):
            notify("default", message)
            wait_until(lambda message=message: message in messages, within=LONG)
    assert heard.times == 1


def test_a_hundred_notifications_wake_a_few_times() -> None:
    with listening_well() as heard:
        begun = time.monotonic()
        for _ in range(100):
            wake_workers("default")
        took = time.monotonic() - begun
        wait_until(lambda: heard.times > 0, within=LONG)
        assert heard.times <= took / listener.MIN_WAKE_SECONDS + 2


def test_a_lost_connection_wakes_and_warns_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with listening_well() as heard:
        for loss in (1, 2):
            heard.times = 0
            assert end_the_listening_connection() == 1
            wait_until(lambda: heard.times == 2, within=LONG)  # deaf, and hearing again
            assert heard.listener.verified
            assert len(warnings(caplog)) == loss
        wake_workers("default")
        wait_until(lambda: heard.times == 3, within=LONG)
    assert all("by polling only" in said for said in warnings(caplog))


def test_a_verification_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread may wait for the database for ever."""
    monkeypatch.setattr(listener, "VERIFY_SECONDS", 0.1)
    go = threading.Event()
    with listening_well() as heard:
        monkeypatch.setattr(listener, "notify", lambda *_: go.wait(LONG))
        wait_until(lambda: not heard.is_verified(), within=LONG)
        go.set()


def test_a_verified_connection_fails_as_dead() -> None:
    deaf = listener.Listener(on_wake=lambda: None)
    deaf._verified_until = time.monotonic() - 1
    with pytest.raises(ConnectionError, match="died without an error"):
        deaf._give_up(None)  # type: ignore[arg-type]


def test_a_connection_that_died_silently_is_detected(
    settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, proxy: Proxy
) -> None:
    monkeypatch.setattr(listener, "VERIFY_SECONDS", 0.2)
    monkeypatch.setitem(DEFAULTS, "connect_timeout", 2)  # the least that libpq takes
    configure(settings, address(host="127.0.0.1", port=proxy.port))
    with listening_well() as heard:
        proxy.hold()
        wait_until(lambda: is_deaf(heard), within=LONG)
        assert heard.times == 1, "it wakes once for what it may have missed"
        proxy.let_go()
        wait_until(heard.is_verified, within=LONG)
    assert len(warnings(caplog)) == 1


def test_listening_to_another_database_warns_once(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    configure(settings, address(dbname="postgres"))
    with listening() as heard:
        wait_until(lambda: is_deaf(heard), within=LONG)
        wake_workers("default")
    assert heard.times == 1, "it wakes once when it becomes deaf"
    (said,) = warnings(caplog)
    assert "Is SCHEDULED_TASKS['LISTEN_DSN'] the address of the same database?" in said


@pytest.mark.parametrize(
    ("dsn", "why"),
    [
        ("host=127.0.0.1 port=1 dbname=none", "port 1 failed"),
        ("postgres//ada:secret@db/shop", "is not a valid PostgreSQL address."),
    ],
)
def test_a_wrong_address_warns_once_without_its_password(
    settings: Any, caplog: pytest.LogCaptureFixture, dsn: str, why: str
) -> None:
    configure(settings, dsn)
    with listening() as heard:
        wait_until(lambda: is_deaf(heard), within=LONG)
    (said,) = warnings(caplog)
    assert why in said
    assert "secret" not in said


def test_it_hears_as_soon_as_it_can(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    configure(settings, address(dbname="nowhere"))
    with listening() as heard:
        wait_until(lambda: is_deaf(heard), within=LONG)
        configure(settings, "")
        wait_until(heard.is_verified, within=LONG)
    assert len(warnings(caplog)) == 1


def test_it_stops_at_once_in_any_state(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "MIN_RETRY_SECONDS", 2.0 * LONG)
    monkeypatch.setattr(listener, "MAX_RETRY_SECONDS", 2.0 * LONG)
    monkeypatch.setattr(listener, "MAX_STOP_SECONDS", 2.0 * LONG)
    with listening_well():
        pass
    configure(settings, "host=127.0.0.1 port=1")
    with listening() as heard:
        wait_until(lambda: heard.listener._failures > 0, within=LONG)


def test_stopping_does_not_wait_for_a_silent_address(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "MAX_STOP_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        configure(settings, f"host=127.0.0.1 port={mute.getsockname()[1]} sslmode=disable")
        heard = Heard()
        heard.listener.start()
        caller, _ = mute.accept()
        heard.listener.stop()
        assert heard.thread.is_alive()
        caller.close()
        heard.thread.join(timeout=LONG)
    assert not heard.thread.is_alive()


def test_it_leaves_no_connection_behind() -> None:
    with listening_well():
        assert others() == 1
    wait_until(lambda: others() == 0, within=LONG)


def test_what_nobody_hears_fails_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        wake_workers("default")
        cursor.execute("SELECT 1")
        connection.execute_wrappers.append(refuse_to_notify)
    connection.execute_wrappers.remove(refuse_to_notify)
    assert "workers could not be woken" in caplog.text


def refuse_to_notify(execute: Any, sql: str, params: Any, many: Any, context: Any) -> Any:
    """Call a missing function, as on a database that only imitates PostgreSQL."""
    return execute(sql.replace("pg_notify", "pg_no_notify"), params, many, context)


def others() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        (count,) = cursor.fetchone()
    return int(count)


def test_the_channel_is_one_that_needs_no_quotes() -> None:
    assert CHANNEL.isidentifier()
    assert CHANNEL.islower()


def test_the_given_address_has_the_last_word(settings: Any) -> None:
    given = "host=db.internal connect_timeout=3 keepalives_idle=7 application_name=mine"
    settings.SCHEDULED_TASKS = {"LISTEN_DSN": given}
    found = parameters("default")
    assert (found["connect_timeout"], found["keepalives_idle"]) == ("3", "7")
    assert (found["application_name"], found["keepalives_count"]) == ("mine", 3)
    assert found["autocommit"] is True
