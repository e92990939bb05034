"""How far a run has come: said twice a second at most, and the last word in any case."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from scheduled_tasks.exceptions import LeaseLost
from scheduled_tasks.runtime import progress as module
from scheduled_tasks.runtime.messages import Progress
from tests.runtime.test_context import context_of
from tests.support.recorders import FakeRecorder


class Clock:
    """Time that passes when a test says so, and timers that go by it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.timers: list[FakeTimer] = []
        monkeypatch.setattr(module, "monotonic", lambda: self.now)
        monkeypatch.setattr(module.threading, "Timer", self.timer)

    def timer(self, seconds: float, function: Callable[[], None]) -> FakeTimer:
        self.timers.append(FakeTimer(self.now + seconds, function))
        return self.timers[-1]

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        for timer in [timer for timer in self.timers if timer.due <= self.now]:
            self.timers.remove(timer)
            if not timer.cancelled:
                timer.function()


class FakeTimer:
    daemon, name, cancelled = False, "", False

    def __init__(self, due: float, function: Callable[[], None]) -> None:
        self.due, self.function = due, function

    def start(self) -> None:
        assert self.daemon

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def recorder() -> FakeRecorder:
    return FakeRecorder()


def said(recorder: FakeRecorder) -> list[float]:
    return [message.done for message in recorder.sent if isinstance(message, Progress)]


def test_frequent_progress_is_sent_twice_a_second(clock: Clock, recorder: FakeRecorder) -> None:
    context = context_of(recorder=recorder)
    for number in range(100):
        context.progress(number)
        clock.pass_by(0.03)
    assert said(recorder)[0] == 0
    assert 5 <= len(said(recorder)) <= 7
    clock.pass_by(1)
    assert said(recorder)[-1] == 99


def test_the_last_progress_is_sent_at_the_end(clock: Clock, recorder: FakeRecorder) -> None:
    context = context_of(recorder=recorder)
    context.progress(1, 2)
    context.progress(2, 2, "all")
    context.progress_updates.close()
    context.progress_updates.close()
    clock.pass_by(1)
    assert recorder.sent == [Progress(done=1, total=2), Progress(done=2, total=2, text="all")]


def test_a_loop_counts_what_it_has_done(clock: Clock, recorder: FakeRecorder) -> None:
    context = context_of(recorder=recorder)
    seen = []
    for page in context.progress(["a", "b", "c"], text="pages"):
        seen.append(page)
        clock.pass_by(0.6)
    context.progress_updates.close()
    assert seen == ["a", "b", "c"]
    assert said(recorder) == [0, 1, 2, 3]
    assert recorder.sent[-1] == Progress(done=3, total=3, text="pages")


def test_a_fast_loop_sends_few_messages(clock: Clock, recorder: FakeRecorder) -> None:
    context = context_of(recorder=recorder)
    for _ in context.progress(range(1_000)):
        clock.pass_by(0.001)
    context.progress_updates.close()
    assert len(said(recorder)) <= 4
    assert said(recorder)[-1] == 1_000


def test_a_loop_that_hangs_has_said_where(clock: Clock, recorder: FakeRecorder) -> None:
    loop = iter(context_of(recorder=recorder).progress(iter(range(5)), total=5))
    for _ in range(4):
        next(loop)
    clock.pass_by(10)
    assert said(recorder) == [0, 3]


def test_a_loop_left_early_sends_its_progress(clock: Clock, recorder: FakeRecorder) -> None:
    context = context_of(recorder=recorder)
    for number in context.progress(range(10)):
        if number == 4:
            break
    context.progress_updates.close()
    assert said(recorder)[-1] == 4


def numbers() -> Iterator[int]:
    yield from range(3)


async def async_numbers() -> AsyncIterator[int]:
    for number in range(3):
        yield number


class Unmeasured(list[int]):
    def __len__(self) -> int:
        raise RuntimeError("no length")


@pytest.mark.parametrize(
    ("items", "total"),
    [(range(3), 3), (numbers(), None), ({1, 2, 3}, 3), (Unmeasured([1, 2, 3]), None)],
)
def test_the_total_is_the_length_if_known(
    items: Any, total: int | None, recorder: FakeRecorder
) -> None:
    assert len(list(context_of(recorder=recorder).progress(items))) == 3
    [first, *_] = recorder.sent
    assert first == Progress(done=0, total=total)


@pytest.mark.parametrize("make", [async_numbers, numbers])
def test_a_loop_may_be_awaited(make: Callable[[], Any], recorder: FakeRecorder) -> None:
    context = context_of(recorder=recorder)

    async def collect() -> list[int]:
        return [number async for number in context.progress(make(), total=3)]

    assert asyncio.run(collect()) == [0, 1, 2]
    context.progress_updates.close()
    assert recorder.sent[-1] == Progress(done=3, total=3)


def test_what_must_be_awaited_is_not_looped_through(recorder: FakeRecorder) -> None:
    with pytest.raises(TypeError, match="async for"):
        list(context_of(recorder=recorder).progress(async_numbers()))


def test_a_refusal_ends_the_run_but_no_thread(recorder: FakeRecorder) -> None:
    context = context_of(recorder=recorder)
    context.progress(1)
    recorder.refuses = True
    context.progress(2)
    context.progress_updates._send_later()
    context.progress(3)
    context.progress_updates.close()
    with pytest.raises(LeaseLost):
        context_of(recorder=recorder).progress(1)
    assert not context.progress_updates.scheduled


def test_secrets_are_taken_out_of_the_text(recorder: FakeRecorder) -> None:
    context_of(recorder=recorder).progress(1, text="token=hunter2xyz")
    assert recorder.sent == [Progress(done=1, text="token=[redacted]")]
