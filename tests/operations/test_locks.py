"""Locks by name within one process; between processes in tests/concurrency/test_named_locks.py."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group
from django.db import OperationalError, connection, transaction
from django.db.models import F
from django.utils import timezone

from scheduled_tasks import lock
from scheduled_tasks.exceptions import LockLost, LockTimeout, RunCancelled
from scheduled_tasks.models import Lock
from scheduled_tasks.operations import lock_renewer
from scheduled_tasks.operations.locks import NamedLock
from scheduled_tasks.runtime.cancellation import Cancellation
from tests.concurrency.beside import elsewhere
from tests.support.processes import LONG, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Check at the end that no lock is held, and that no thread is left that could hold one."""
    yield
    wait_until(lambda: not keepers(), within=LONG)
    assert not Lock.objects.exists()


@pytest.fixture
def short_lease(settings: Any) -> None:
    """Renew locks several times a second."""
    settings.SCHEDULED_TASKS = {
        **settings.SCHEDULED_TASKS,
        "LEASE": 1.2,
        "HEARTBEAT_INTERVAL": 0.3,
    }


def keepers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("lock-")]


def try_it(name: str = "import") -> bool:
    """Whether the lock is free."""
    try:
        with lock(name, timeout=0):
            return True
    except LockTimeout:
        return False


def test_one_block_at_a_time_has_it() -> None:
    with lock("import") as held, elsewhere() as others:
        held.check()
        assert not others.submit(try_it).result()
        assert others.submit(try_it, "export").result()
        [row] = Lock.objects.all()
        assert (row.name, row.holder[-1].isdigit()) == ("import", True)
        assert timedelta(seconds=50) < row.expires_at - timezone.now() <= timedelta(seconds=60)
    assert try_it()


def test_a_timeout_names_the_holder() -> None:
    with lock("import"):
        holder = Lock.objects.get().holder
        with pytest.raises(LockTimeout, match="The lock 'import' is held by") as told:
            enter("import", timeout=0.3)
    assert holder in str(told.value)
    assert isinstance(told.value, TimeoutError)


def test_a_waiter_gets_a_released_lock() -> None:
    with elsewhere() as others:
        with lock("import"):
            waiting = others.submit(wait_for_it)
            wait_until(lambda: len(keepers()) == 2, within=LONG)
            assert not waiting.done()
        assert waiting.result(LONG)


def enter(name: str, **options: Any) -> None:
    with lock(name, **options):
        pass


def wait_for_it() -> bool:
    with lock("import") as held:
        held.check()
    return True


def test_an_exception_releases_the_lock_and_propagates() -> None:
    with pytest.raises(ValueError, match="no"), lock("import"):
        raise ValueError("no")
    assert try_it()
    with pytest.raises(Lock.DoesNotExist), lock("import"):
        lose_and_miss_it()


def lose_and_miss_it() -> None:
    Lock.objects.all().delete()
    Lock.objects.get()


def test_a_rollback_does_not_take_it_back() -> None:
    with transaction.atomic():
        with lock("import") as held:
            Group.objects.create(name="done")
            held.check()
            if connection.vendor != "sqlite":  # there nobody else can do anything until its end
                with elsewhere() as others:
                    assert not others.submit(try_it).result()
        transaction.set_rollback(True)
    assert not Group.objects.exists()
    assert try_it()


def test_an_error_of_a_broken_transaction_propagates() -> None:
    Group.objects.create(name="there")
    for _ in range(2):
        with pytest.raises(Exception, match=r"(?i)unique"), transaction.atomic(), lock("import"):
            Group.objects.create(name="there")


def test_a_transaction_on_sqlite_does_not_wait() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("Elsewhere the lock is taken on another connection.")
    with lock("import"), transaction.atomic():
        with pytest.raises(LockTimeout, match="SQLite has one writer at a time"):
            enter("import")
        with lock("export") as held:
            held.check()
            assert Lock.objects.filter(name="export").exists()


def test_a_lock_is_renewed_during_the_block(short_lease: None) -> None:
    with lock("import") as held:
        first = Lock.objects.get().expires_at
        wait_until(
            lambda: Lock.objects.get().expires_at > first + timedelta(seconds=2), within=LONG
        )
        held.check()
        assert not try_it()


@pytest.mark.parametrize(
    "lose",
    [
        lambda: Lock.objects.all().delete(),
        lambda: Lock.objects.update(token="somebody else's"),
    ],
)
def test_a_lock_with_another_holder_is_lost(short_lease: None, lose: Callable[[], object]) -> None:
    with pytest.raises(LockLost, match="The lock 'import' is lost"), lock("import") as held:
        lose()
    with pytest.raises(LockLost, match="Another process may hold it"), lock("import") as held:
        check_until_lost(held, lose)
    Lock.objects.all().delete()


def check_until_lost(held: NamedLock, lose: Callable[[], object]) -> None:
    lose()
    while True:
        held.check()


def test_a_lock_without_renewal_is_lost(
    short_lease: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: Any, **__: Any) -> bool:
        raise OperationalError("gone")

    monkeypatch.setattr(type(Lock.objects.all()), "renew", away)
    with pytest.raises(LockLost), lock("import") as held:
        check_until_lost(held, list)
    assert "lock import not renewed, trying again: gone" in caplog.text


def test_a_sleep_of_the_machine_loses_locks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    boottime = lock_renewer.boottime
    monkeypatch.setattr(lock_renewer, "boottime", lambda: boottime() + sum(slept))
    with pytest.raises(LockLost), lock("import"):
        slept.append(60.0)


def test_a_short_outage_keeps_the_lock(short_lease: None, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    renew = type(Lock.objects.all()).renew

    def away_once(self: Any, *arguments: Any, **options: Any) -> bool:
        calls.append(self)
        if len(calls) == 1:
            raise OperationalError("gone")
        return renew(self, *arguments, **options)

    monkeypatch.setattr(type(Lock.objects.all()), "renew", away_once)
    with lock("import") as held:
        wait_until(lambda: len(calls) > 3, within=LONG)
        held.check()


def test_a_lock_that_cannot_be_given_back_expires(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: Any) -> bool:
        raise OperationalError("gone")

    with monkeypatch.context() as broken:
        broken.setattr(type(Lock.objects.all()), "release", away)
        with lock("import"):
            pass
    assert "lock import not released, it will expire: gone" in caplog.text
    assert not try_it()
    Lock.objects.update(expires_at=F("expires_at") - timedelta(days=1))
    assert try_it()


def test_a_database_error_is_raised_in_the_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(*_: Any, **__: Any) -> bool:
        raise OperationalError("gone")

    with monkeypatch.context() as broken:
        broken.setattr(type(Lock.objects.all()), "acquire", away)
        with pytest.raises(OperationalError, match="gone"), lock("import"):
            pytest.fail("it cannot be had")


def test_who_waits_can_be_interrupted() -> None:
    cancellation = Cancellation()

    def handler() -> None:
        with lock("import"):
            pytest.fail("nobody else gives it back")

    def run() -> str:
        try:
            cancellation.call(handler)
        except RunCancelled:
            return "cancelled"
        return "not cancelled"

    with lock("import"), elsewhere() as others:
        waiting = others.submit(run)
        wait_until(lambda: len(keepers()) == 2, within=LONG)
        cancellation.request(RunCancelled, "No longer wanted.")
        assert waiting.result(LONG) == "cancelled"
        wait_until(lambda: len(keepers()) == 1, within=LONG)


def test_a_lock_without_a_block_is_released() -> None:
    held = lock("import")
    held.__enter__()
    assert not try_it()
    del held
    gc.collect()
    wait_until(try_it, within=LONG)


def test_async_code_waits_without_keeping_others_waiting() -> None:
    order = []

    async def hold(number: int) -> None:
        async with lock("import") as held:
            held.check()
            order.append(number)
            await asyncio.sleep(0.01)
            order.append(number)

    async def too_late() -> None:
        async with lock("import"):
            with pytest.raises(LockTimeout):
                async with lock("import", timeout=0):
                    pytest.fail("it is held")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3), lock("import"):
                    pytest.fail("it is held")

    async def lose() -> None:
        async with lock("import"):
            await Lock.objects.all().adelete()

    async def together() -> None:
        await asyncio.gather(*map(hold, range(4)))
        await too_late()
        with pytest.raises(LockLost):
            await lose()

    async_to_sync(together)()
    assert [order[at] for at in (0, 2, 4, 6)] == [order[at] for at in (1, 3, 5, 7)]
    assert sorted(order) == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("name", ["", "x" * 201, "nul \0", 7])
def test_what_no_database_can_hold_is_no_name(name: Any) -> None:
    with pytest.raises(ValueError, match="A name of a lock is text of 1 to 200 characters"):
        lock(name)


@pytest.mark.parametrize("timeout", [-1, float("nan"), "5", [], timedelta(seconds=1)])
def test_nobody_waits_a_negative_time(timeout: Any) -> None:
    with pytest.raises(ValueError, match="0 seconds or longer"):
        lock("import", timeout=timeout)


def test_one_that_is_not_held_is_lost() -> None:
    with pytest.raises(LockLost, match="was never held"):
        lock("import").check()


def test_a_lease_may_be_as_long_as_wanted() -> None:
    """Other releases, and other settings, may give longer ones. Only the engine knows its own."""
    row = Lock.objects.create(name="import", expires_at=timezone.now() + timedelta(days=365))
    assert not try_it()
    row.delete()


def test_unreleased_locks_are_pruned_after_a_day() -> None:
    now = timezone.now()
    for number, hours in enumerate((-1, 1, 23, 25, 26, 27)):
        moment = now - timedelta(hours=hours)
        Lock.objects.create(name=str(number), expires_at=moment)
    assert Lock.objects.prune(now, at_most=2) == 2
    assert Lock.objects.prune(now, at_most=2) == 1
    assert Lock.objects.prune(now, at_most=2) == 0
    assert list(Lock.objects.order_by("name").values_list("name", flat=True)) == ["0", "1", "2"]
    Lock.objects.all().delete()


@pytest.mark.parametrize("timeout", [10**400, float("inf"), 1e308])
def test_a_wait_of_ages_is_a_wait(timeout: float) -> None:
    with lock("import", timeout=timeout) as held:
        held.check()
