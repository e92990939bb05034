"""What a handler says through its context, as the recorder of its run hears it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from django.test import override_settings

from scheduled_tasks import TaskContext
from scheduled_tasks.cancellation import Cancellation
from scheduled_tasks.exceptions import LeaseLost, TimeLimitExceeded
from scheduled_tasks.log_capture import captured
from scheduled_tasks.messages import Checkpoint, Counts, LogLine, Message, Progress
from tests.executors.runs import NOW


class FakeRecorder:
    """Hears what a run says; refuses it, if told to."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.confirmed: list[Message] = []
        self.refuses = False

    def send(self, message: Message) -> None:
        if self.refuses:
            raise LeaseLost
        self.sent.append(message)

    def confirm(self, message: Message) -> None:
        self.send(message)
        self.confirmed.append(self.sent.pop())


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


def test_progress_is_sent(context: TaskContext, recorder: FakeRecorder) -> None:
    context.progress(1)
    context.progress(2.5, 10, "half of five")
    context.progress(3, text=ValueError("any"))  # type: ignore[arg-type]
    assert recorder.sent == [
        Progress(done=1),
        Progress(done=2.5, total=10, text="half of five"),
        Progress(done=3, text="any"),
    ]


def test_counts_are_sent(context: TaskContext, recorder: FakeRecorder) -> None:
    context.record(processed=3)
    context.record(errors=1)
    context.record()
    so_far = Counts(processed=3, errors=1)
    assert recorder.sent == [Counts(processed=3), so_far, so_far]


@pytest.mark.parametrize(
    "say",
    [
        lambda context: context.progress("1"),
        lambda context: context.progress(1, "2"),
        lambda context: context.progress(None),
        lambda context: context.record(processed=1.5),
        lambda context: context.record(errors="1"),
    ],
)
def test_what_is_no_number_is_refused_where_it_is_said(
    context: TaskContext, recorder: FakeRecorder, say: Callable[[TaskContext], None]
) -> None:
    with pytest.raises(TypeError, match="takes"):
        say(context)
    assert recorder.sent == []


def test_a_checkpoint_is_confirmed_and_can_be_read_as_the_next_attempt_will(
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


def test_what_cannot_be_a_checkpoint_leaves_the_one_before(
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
        lambda: context.logger.info("x"),
    ):
        with captured(recorder), pytest.raises(LeaseLost):
            say()


def test_cancelled_says_whether_the_run_has_to_stop() -> None:
    cancellation = Cancellation()
    context = context_of(cancellation=cancellation)
    assert not context.cancelled
    cancellation.request(TimeLimitExceeded, "late")
    assert context.cancelled


def test_a_context_made_by_hand_says_it_to_nobody() -> None:
    context = context_of()
    context.progress(1)
    context.record(processed=1)
    context.checkpoint = [1]
    context.logger.info("x")
    assert context.checkpoint == [1]
    assert not context.cancelled
    assert "recorder" not in repr(context)


def test_lines_of_the_logger_are_sent_and_logged_as_ever(
    context: TaskContext, recorder: FakeRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    with captured(recorder):
        context.logger.info("one of %s", 4)
        context.logger.debug("not from DEBUG")
        logging.getLogger("elsewhere").error("not from elsewhere")
        try:
            raise ZeroDivisionError  # noqa: TRY301
        except ZeroDivisionError:
            context.logger.exception("it failed")
    context.logger.info("after the run")
    first, second = recorder.sent
    assert isinstance(first, LogLine)
    assert isinstance(second, LogLine)
    assert (first.level, first.message) == (logging.INFO, "one of 4")
    assert first.logger == "scheduled_tasks.run.one"
    assert first.logged_at.utcoffset() is not None
    assert second.message.startswith("it failed\nTraceback")
    assert second.message.endswith("ZeroDivisionError")
    assert "one of 4" in caplog.messages


def test_lines_of_two_runs_at_a_time_go_each_to_its_own(context: TaskContext) -> None:
    outer, inner = FakeRecorder(), FakeRecorder()
    with captured(outer):
        with captured(inner):
            context.logger.info("inner")
        context.logger.info("outer")
    assert [line.message for line in inner.sent if isinstance(line, LogLine)] == ["inner"]
    assert [line.message for line in outer.sent if isinstance(line, LogLine)] == ["outer"]


def test_a_line_that_cannot_be_formatted_is_said_on_stderr_and_raises_nothing(
    context: TaskContext,
    recorder: FakeRecorder,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger("scheduled_tasks.run"), "propagate", False)
    with captured(recorder):
        context.logger.info("%d", "x")
        context.logger.info("nul \0")
    [line] = recorder.sent
    assert isinstance(line, LogLine)
    assert line.message == "nul \N{REPLACEMENT CHARACTER}"
    assert "Logging error" in capsys.readouterr().err
