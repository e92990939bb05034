"""The way into a running handler: from threads, from signals, and shut the moment it has ended."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from scheduled_tasks.exceptions import LeaseLost, RunInterrupted, TimeLimitExceeded
from scheduled_tasks.runtime import cancellation as cancellation_module
from scheduled_tasks.runtime.cancellation import Cancellation

LONG = 20


@pytest.fixture
def cancellation() -> Cancellation:
    return Cancellation()


def spin(until: float | None = None) -> str:
    """Compute until interrupted, for a while at most."""
    end = time.monotonic() + (until or LONG)
    while time.monotonic() < end:
        pass
    return "not interrupted"


def in_thread(function: Callable[[], Any]) -> Any:
    """Call a function in another thread; return or raise what it does."""
    results: list[Any] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(LONG)
    assert not thread.is_alive()
    if errors:
        raise errors[0]
    return results[0]


@contextmanager
def soon(function: Callable[[], object], *, seconds: float = 0.05) -> Iterator[None]:
    """Call a function from another thread a moment later."""
    timer = threading.Timer(seconds, function)
    timer.start()
    try:
        yield
    finally:
        timer.join(LONG)


@contextmanager
def on_signal(function: Callable[[], object]) -> Iterator[None]:
    """Call a function when SIGUSR1 comes."""
    before = signal.signal(signal.SIGUSR1, lambda number, frame: function())
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_nothing_is_requested_at_first(cancellation: Cancellation) -> None:
    assert not cancellation.requested
    cancellation.check()
    assert cancellation.call(lambda: "done") == "done"


def test_another_threads_request_is_raised_in_the_handler(
    cancellation: Cancellation,
) -> None:
    late = soon(lambda: cancellation.request(TimeLimitExceeded, "late"))
    with late, pytest.raises(TimeLimitExceeded):
        cancellation.call(spin)
    assert cancellation.requested
    assert (cancellation.error, cancellation.reason) == (TimeLimitExceeded, "late")
    assert spin(0.05) == "not interrupted", "and once only"


def test_a_request_interrupts_a_handler_in_any_thread(cancellation: Cancellation) -> None:
    with soon(lambda: cancellation.request(LeaseLost, "gone")), pytest.raises(LeaseLost):
        in_thread(lambda: cancellation.call(spin))


def test_a_request_from_a_signal_interrupts_a_sleep(cancellation: Cancellation) -> None:
    main = threading.main_thread().ident
    assert main is not None
    with (
        on_signal(lambda: cancellation.request(TimeLimitExceeded, "late")),
        soon(lambda: signal.pthread_kill(main, signal.SIGUSR1)),
        pytest.raises(TimeLimitExceeded, match="late"),
    ):
        cancellation.call(lambda: time.sleep(LONG))


def test_a_request_before_the_handler_prevents_it(
    cancellation: Cancellation,
) -> None:
    called: list[int] = []
    cancellation.request(LeaseLost, "gone")
    with pytest.raises(LeaseLost, match="gone"):
        cancellation.call(lambda: called.append(1))
    assert called == []


def test_a_request_after_the_handler_is_in_vain(cancellation: Cancellation) -> None:
    assert cancellation.call(lambda: "done") == "done"
    cancellation.request(TimeLimitExceeded, "late")
    assert not cancellation.requested
    assert spin(0.05) == "not interrupted"


def test_the_first_reason_stays_and_is_raised_again(cancellation: Cancellation) -> None:
    raised: list[str] = []

    def swallow() -> None:
        for error in (TimeLimitExceeded, LeaseLost):
            try:
                cancellation.request(error, error.__name__)
            except RunInterrupted as caught:
                raised.append(str(caught))

    cancellation.call(swallow)
    assert raised == ["TimeLimitExceeded", "TimeLimitExceeded"]
    assert cancellation.error is TimeLimitExceeded


def test_except_exception_does_not_swallow_it(cancellation: Cancellation) -> None:
    def handler() -> None:
        while True:
            with suppress(Exception):
                spin()

    late = soon(lambda: cancellation.request(TimeLimitExceeded, "late"))
    with late, pytest.raises(TimeLimitExceeded):
        cancellation.call(handler)


def test_what_a_handler_raises_itself_comes_through(cancellation: Cancellation) -> None:
    with pytest.raises(ZeroDivisionError):
        cancellation.call(lambda: 1 // 0)
    cancellation.request(TimeLimitExceeded, "late")
    assert not cancellation.requested


def test_a_request_in_a_shield_is_raised_afterwards(
    cancellation: Cancellation,
) -> None:
    steps: list[str] = []

    def handler() -> None:
        with cancellation.shielded(), cancellation.shielded():
            cancellation.request(TimeLimitExceeded, "late")
            steps.append("inside")
        steps.append("after")

    with pytest.raises(TimeLimitExceeded, match="late"):
        cancellation.call(handler)
    assert steps == ["inside"]


def test_a_shield_holds_against_other_threads_too(cancellation: Cancellation) -> None:
    steps: list[str] = []

    def handler() -> None:
        with cancellation.shielded():
            with soon(lambda: cancellation.request(LeaseLost, "gone"), seconds=0):
                pass
            steps.append(spin(0.05))
        steps.append("after")

    with pytest.raises(LeaseLost):
        cancellation.call(handler)
    assert steps == ["not interrupted"]


def test_a_shield_keeps_what_was_raised_inside(cancellation: Cancellation) -> None:
    def handler() -> None:
        with cancellation.shielded():
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cancellation.call(handler)


def test_a_shield_in_another_thread_shields_nothing(cancellation: Cancellation) -> None:
    inside, go = threading.Event(), threading.Event()

    def elsewhere() -> None:
        with cancellation.shielded():
            inside.set()
            assert go.wait(LONG)

    def handler() -> None:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        assert inside.wait(LONG)
        try:
            cancellation.request(TimeLimitExceeded, "late")
        finally:
            go.set()
            thread.join(LONG)

    with pytest.raises(TimeLimitExceeded):
        cancellation.call(handler)


def test_an_async_handler_is_cancelled_where_it_awaits(cancellation: Cancellation) -> None:
    cleaned: list[int] = []

    async def handler() -> None:
        try:
            await asyncio.sleep(LONG)
        finally:
            cleaned.append(1)

    late = soon(lambda: cancellation.request(TimeLimitExceeded, "late"), seconds=0.2)
    with late, pytest.raises(asyncio.CancelledError):
        cancellation.call(lambda: async_to_sync(cancellation.awaited)(handler()))
    assert cleaned == [1]


def test_an_async_handler_stops_at_the_next_await(cancellation: Cancellation) -> None:
    async def handler() -> None:
        cancellation.request(TimeLimitExceeded, "late")
        await asyncio.sleep(0)
        raise AssertionError("it went on")

    with pytest.raises(asyncio.CancelledError):
        cancellation.call(lambda: async_to_sync(cancellation.awaited)(handler()))


def test_an_ended_async_handler_ignores_a_request(cancellation: Cancellation) -> None:
    async def handler() -> str:
        return "done"

    assert cancellation.call(lambda: async_to_sync(cancellation.awaited)(handler())) == "done"
    cancellation.request(TimeLimitExceeded, "late")
    assert not cancellation.requested


class AtStep:
    """Does something at the n-th moment at which the interpreter would call signal handlers.

    That is where a Python function begins, and where a function of the interpreter's has returned.
    """

    def __init__(self, step: int, action: Callable[[], object]) -> None:
        self.left = step
        self.action = action

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        own = frame.f_globals.get("__name__") == cancellation_module.__name__
        if own and event in ("call", "c_return"):
            self.left -= 1
            if self.left == 0:
                sys.setprofile(None)
                self.action()


def test_a_signal_surfaces_inside_a_call_or_never() -> None:
    step, raised = 0, []
    while True:
        step += 1
        cancellation = Cancellation()
        at_step = AtStep(step, lambda each=cancellation: each.request(TimeLimitExceeded, "late"))
        try:
            sys.setprofile(at_step)
            cancellation.call(lambda: "done")
        except TimeLimitExceeded:
            raised.append(step)
        finally:
            sys.setprofile(None)
        if at_step.left > 0:
            break
        assert (step in raised) == cancellation.requested
        cancellation.request(LeaseLost, "too late")
        assert cancellation.error is not LeaseLost, f"the way in was open after step {step}"
    assert 0 < len(raised) < step - 2, "before its end it is interrupted, and after it not"


def test_a_racing_request_surfaces_inside_or_never() -> None:
    seen = set()
    for _ in range(500):
        cancellation = Cancellation()
        go = threading.Barrier(2)

        def ask(each: Cancellation = cancellation, go: threading.Barrier = go) -> None:
            go.wait(LONG)
            each.request(TimeLimitExceeded, "late")

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            try:
                cancellation.call(lambda go=go: go.wait(LONG) and None)
            except RunInterrupted:
                seen.add("raised")
            else:
                seen.add("requested" if cancellation.requested else "in vain")
            thread.join(LONG)
            for _ in range(10):
                time.monotonic()
        except RunInterrupted:
            pytest.fail("it surfaced after the end")
    assert seen <= {"raised", "requested", "in vain"}
