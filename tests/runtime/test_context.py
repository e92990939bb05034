"""What a handler says through its context, as the recorder of its run hears it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from django.test import override_settings

from scheduled_tasks import TaskContext
from scheduled_tasks.exceptions import LeaseLost, TimeLimitExceeded
from scheduled_tasks.runtime.cancellation import Cancellation
from scheduled_tasks.runtime.messages import Checkpoint, Counts, LeaseCheck, Progress
from tests.executors.runs import NOW
from tests.support.recorders import FakeRecorder


@pytest.fixture
def recorder() -> FakeRecorder:
    return FakeRecorder()


@pytest.fixture
def context(recorder: FakeRecorder) -> TaskContext:
    return context_of(recorder=recorder)


def context_of(**fields: Any) -> TaskContext:
    return TaskContext(
        task_name="one",
        execution_id=7,
        attempt=2,
        scheduled_for=NOW,
        trigger="manual",
        **fields,
    )


@pytest.mark.parametrize(
    ("say", "sent"),
    [
        (lambda context: context.progress(1), Progress(done=1)),
        (
            lambda context: context.progress(2.5, 10, "half of five"),
            Progress(done=2.5, total=10, text="half of five"),
        ),
        (lambda context: context.progress(3, text=ValueError("any")), Progress(done=3, text="any")),
    ],
)
def test_progress_is_sent(
    context: TaskContext,
    recorder: FakeRecorder,
    say: Callable[[TaskContext], None],
    sent: Progress,
) -> None:
    say(context)
    assert recorder.sent == [sent]


def test_counts_are_sent(context: TaskContext, recorder: FakeRecorder) -> None:
    context.record(processed=3)
    context.record(errors=1)
    context.record()
    assert context.counts == Counts(processed=3, errors=1)
    context.send_pending()
    assert recorder.sent == [Counts(processed=3), Counts(processed=3, errors=1)]


@pytest.mark.parametrize(
    "say",
    [
        lambda context: context.progress("1"),
        lambda context: context.progress(1, "2"),
        lambda context: context.progress(None),
        lambda context: context.progress(True),
        lambda context: context.progress(10**5000, "2"),
        lambda context: context.progress(1, False),
        lambda context: context.record(processed=1.5),
        lambda context: context.record(processed=True),
        lambda context: context.record(errors=False),
        lambda context: context.record(errors="1"),
        lambda context: context.record(processed=10**5000, errors="1"),
    ],
)
def test_an_argument_that_is_no_number_is_refused(
    context: TaskContext, recorder: FakeRecorder, say: Callable[[TaskContext], None]
) -> None:
    with pytest.raises(TypeError, match="takes"):
        say(context)
    assert recorder.sent == []


def test_a_checkpoint_is_confirmed_and_read_as_stored(
    context: TaskContext, recorder: FakeRecorder
) -> None:
    assert context.checkpoint is None
    context.checkpoint = {"day": date(2026, 3, 1), "pages": (1, 2)}
    stored = {"day": "2026-03-01", "pages": [1, 2]}
    assert context.checkpoint == stored
    assert recorder.confirmed == [Checkpoint(value=stored)]


def test_the_checkpoint_of_an_attempt_before_is_there(recorder: FakeRecorder) -> None:
    context = context_of(recorder=recorder, last_checkpoint=[1])
    assert context.checkpoint == [1]
    context.checkpoint = None
    assert context.checkpoint is None
    assert recorder.confirmed == [Checkpoint(value=None)]


def test_a_refused_checkpoint_leaves_the_previous_one(
    context: TaskContext, recorder: FakeRecorder
) -> None:
    context.checkpoint = 1
    with pytest.raises(TypeError, match="no JSON form"):
        context.checkpoint = object()
    with override_settings(SCHEDULED_TASKS={"MAX_STORED_LENGTH": 100}):
        with pytest.raises(ValueError, match="MAX_STORED_LENGTH"):
            context.checkpoint = "x" * 100
        context.checkpoint = "x" * 98
    recorder.refuses = True
    with pytest.raises(LeaseLost):
        context.checkpoint = 3
    assert context.checkpoint == "x" * 98
    assert len(recorder.confirmed) == 2


def test_a_refused_message_raises_where_it_was_said(
    context: TaskContext, recorder: FakeRecorder
) -> None:
    recorder.refuses = True
    for say in (
        lambda: context.progress(1),
        lambda: context.record(processed=1),
        context.heartbeat,
    ):
        with pytest.raises(LeaseLost):
            say()


def test_cancelled_says_whether_the_run_has_to_stop() -> None:
    cancellation = Cancellation()
    context = context_of(cancellation=cancellation)
    assert not context.cancelled
    cancellation.request(TimeLimitExceeded, "late")
    assert context.cancelled


def test_a_context_made_by_hand_sends_nothing() -> None:
    context = context_of()
    context.progress(1)
    context.record(processed=1)
    context.checkpoint = [1]
    context.logger.info("x")
    assert context.checkpoint == [1]
    assert not context.cancelled
    assert "recorder" not in repr(context)


def test_a_context_made_by_hand_works_in_memory() -> None:
    context = context_of()
    context.checkpoint_in_transaction((1, 2))
    assert context.checkpoint == [1, 2]
    with pytest.raises(ZeroDivisionError), context.once("mail", ttl=60):
        raise ZeroDivisionError
    told = []
    for key in ("mail", "mail", "letter"):
        with context.once(key) as first, context.once(key) as inner:
            told.append((first, inner))
    assert told == [(True, False), (False, False), (True, False)]
    with context_of().once("mail") as first:
        assert first
    assert "attempt_store" not in repr(context)


def test_it_can_be_awaited(recorder: FakeRecorder) -> None:
    context = context_of(recorder=recorder)

    async def handler() -> tuple[bool, Any]:
        async with context.once("mail") as first:
            await context.acheckpoint((1, 2))
        return first, context.checkpoint

    assert asyncio.run(handler()) == (True, [1, 2])
    assert recorder.confirmed == [Checkpoint(value=[1, 2])]
    recorder.refuses = True
    with pytest.raises(LeaseLost):
        asyncio.run(context.acheckpoint(3))
    with pytest.raises(TypeError, match="no JSON form"):
        asyncio.run(context.acheckpoint(object()))
    assert context.checkpoint == [1, 2]


def test_a_heartbeat_waits_for_its_answer(context: TaskContext, recorder: FakeRecorder) -> None:
    context.heartbeat()
    assert (recorder.sent, recorder.confirmed) == ([], [LeaseCheck()])
