"""What runs say of themselves: written in batches, guarded by their claims, one bad row at most."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext, override_settings

from scheduled_tasks.lifecycle import claiming, ending, recording
from scheduled_tasks.lifecycle.recording import Claim
from scheduled_tasks.models import Execution, ExecutionLog, Worker
from scheduled_tasks.runtime import validation
from scheduled_tasks.runtime.messages import (
    Checkpoint,
    Counts,
    Envelope,
    ExecutorNote,
    LogLine,
    Message,
    Progress,
    StartedOver,
)
from tests.support.attempts import claim, loss

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

Make = Callable[..., Any]
START = datetime.fromisoformat("2026-03-01T12:00:00+00:00")


@pytest.fixture
def running(make_task: Make, worker: Worker, now: datetime) -> list[Execution]:
    """Return three executions that the worker has claimed."""
    task = make_task("one", "jobs.nothing", overlap_policy="allow")
    for _ in range(3):
        Execution.for_task(task, trigger="manual", now=now).save()
    return claiming.claim(worker, now, limit=3, handlers=["jobs.nothing"]).rows


def line(message: str = "done", **fields: Any) -> LogLine:
    return LogLine(
        **{"logged_at": START, "level": logging.INFO, "logger": "shop", "message": message} | fields
    )


NUMBERS = count(1)


def sent(execution: Execution, *messages: Message, attempt: int | None = None) -> list[Envelope]:
    number = execution.attempt if attempt is None else attempt
    return [
        Envelope(execution_id=execution.pk, attempt=number, number=next(NUMBERS), message=message)
        for message in messages
    ]


def record(worker: Worker, execution: Execution, *messages: Message) -> Execution:
    """Record messages of one execution, and return it as it is stored."""
    assert recording.record(sent(execution, *messages), worker) == {}
    return Execution.objects.get(pk=execution.pk)


def logged(execution: Execution) -> list[str]:
    return [line.message for line in execution.log_lines.all()]


def test_each_kind_of_message_goes_where_it_belongs(
    running: list[Execution], worker: Worker
) -> None:
    first, *others = running
    stored = record(
        worker,
        first,
        line("begun"),
        Progress(done=40, total=100, text="of the letters"),
        Checkpoint(value={"last": 40}),
        Counts(processed=40, errors=2),
        ExecutorNote(text="asked to stop"),
        line("going on", level=logging.WARNING, logger="shop.mail"),
    )
    assert stored.progress == {"done": 40, "total": 100, "text": "of the letters"}
    assert stored.checkpoint == {"last": 40}
    assert (stored.processed_count, stored.error_count) == (40, 2)
    assert stored.reason == "asked to stop"
    assert (stored.status, stored.attempt) == ("running", 1)
    fields = ("attempt", "logged_at", "level", "logger", "message")
    assert list(stored.log_lines.values_list(*fields)) == [
        (1, START, 20, "shop", "begun"),
        (1, START, 30, "shop.mail", "going on"),
    ]
    for other in others:
        assert Execution.objects.get(pk=other.pk).progress is None
        assert logged(other) == []


def test_what_was_said_last_stands(running: list[Execution], worker: Worker) -> None:
    record(worker, running[0], Progress(done=1), Progress(done=2, text="two"), Counts(processed=5))
    stored = record(
        worker,
        running[0],
        Checkpoint(value=[1]),
        Checkpoint(value=None),
        Counts(processed=8, errors=2),
        Counts(processed=9, errors=2),
    )
    assert stored.progress == {"done": 2, "total": None, "text": "two"}
    assert stored.checkpoint is None
    assert (stored.processed_count, stored.error_count) == (9, 2)


def test_the_largest_numbers_can_be_written(running: list[Execution], worker: Worker) -> None:
    largest = (
        Counts(processed=validation.MAX_COUNT, errors=validation.MAX_COUNT),
        Progress(done=-validation.MAX_PROGRESS, total=validation.MAX_PROGRESS),
        line(level=validation.MAX_LEVEL, logged_at=validation.MIN_MOMENT),
        line(level=0, logged_at=validation.MAX_MOMENT),
    )
    stored = record(worker, running[0], *map(validation.checked_message, largest))
    assert (stored.processed_count, stored.error_count) == (validation.MAX_COUNT,) * 2
    moments = list(stored.log_lines.values_list("logged_at", flat=True))
    assert moments == [validation.MIN_MOMENT, validation.MAX_MOMENT]


def test_starting_over_forgets_progress_and_counts(
    running: list[Execution], worker: Worker
) -> None:
    record(worker, running[0], Progress(done=1), Counts(processed=5, errors=1), line("kept"))
    stored = record(worker, running[0], StartedOver())
    assert (stored.progress, stored.processed_count, stored.error_count) == (None, 0, 0)
    assert logged(stored) == ["kept"]
    assert record(worker, running[0], StartedOver(), Counts(processed=2)).processed_count == 2


def test_a_batch_of_runs_is_one_transaction(running: list[Execution], worker: Worker) -> None:
    batch = [
        message
        for number in range(50)
        for execution in running
        for message in sent(execution, line(str(number)), Progress(done=number))
    ]
    with CaptureQueriesContext(connection) as few:
        recording.record(batch[:12], worker)
    with CaptureQueriesContext(connection) as many:
        assert recording.record(batch, worker) == {}
    written = [query["sql"] for query in many if not query["sql"].startswith("INSERT")]
    assert len(written) == len([q for q in few if not q["sql"].startswith("INSERT")])
    for execution in running:
        assert logged(execution)[-50:] == [str(number) for number in range(50)]
        assert Execution.objects.get(pk=execution.pk).progress["done"] == 49


def test_nothing_said_costs_nothing(
    worker: Worker, django_assert_num_queries: Callable[[int], Any]
) -> None:
    with django_assert_num_queries(0):
        assert recording.record([], worker) == {}


def everything() -> list[Message]:
    return [
        line(),
        Progress(done=1),
        Checkpoint(value=1),
        Counts(processed=1),
        ExecutorNote(text="x"),
    ]


def assert_unspoken(execution: Execution) -> None:
    stored = Execution.objects.get(pk=execution.pk)
    assert (stored.progress, stored.checkpoint, stored.processed_count) == (None, None, 0)
    assert stored.reason == ""
    assert logged(stored) == []


def test_another_worker_may_not_speak_for_an_execution(
    running: list[Execution], worker: Worker, now: datetime
) -> None:
    other = Worker.objects.create(label="other", host="h", pid=2)
    batch = sent(running[0], *everything())
    assert recording.record(batch, other) == {(running[0].pk, 1): False}
    assert_unspoken(running[0])


@pytest.mark.parametrize("attempt", [0, 2])
def test_another_attempt_may_not_speak_for_an_execution(
    running: list[Execution], worker: Worker, attempt: int
) -> None:
    late = sent(running[0], *everything(), attempt=attempt)
    good = sent(running[1], line("mine"))
    refused = recording.record([*late[:3], *good, *late[3:]], worker)
    assert refused == {(running[0].pk, attempt): False}
    assert_unspoken(running[0])
    assert logged(running[1]) == ["mine"]


def test_the_current_attempt_is_told_from_earlier_ones(
    running: list[Execution], worker: Worker, now: datetime
) -> None:
    first = running[0]
    ending.end([loss(first)], worker, now)
    again = claim(worker, now)
    batch = [*sent(first, line("late")), *sent(again, line("second"))]
    assert recording.record(batch, worker) == {(first.pk, 1): False}
    assert logged(first) == ["second"]
    assert first.log_lines.get().attempt == 2


def test_what_has_ended_or_gone_speaks_no_more(
    running: list[Execution], worker: Worker, now: datetime
) -> None:
    ended, gone, _ = running
    Execution.objects.filter(pk=ended.pk).update(status="failed")
    batch = [*sent(ended, *everything()), *sent(gone, *everything())]
    Execution.objects.filter(pk=gone.pk).delete()
    assert recording.record(batch, worker) == dict.fromkeys([(ended.pk, 1), (gone.pk, 1)], False)
    assert not ExecutionLog.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_messages_are_checked_again_after_a_lost_claim(
    running: list[Execution], worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, _ = running
    write = recording.update_each
    calls = []

    def lose_the_claim_first(*args: Any, **options: Any) -> int:
        if not calls:
            Execution.objects.filter(pk=first.pk).update(worker="another")
        calls.append(args)
        return write(*args, **options)

    monkeypatch.setattr(recording, "update_each", lose_the_claim_first)
    batch = [*sent(first, *everything()), *sent(second, *everything())]
    # Rolling back what lost the race takes back what took the claim, too, so here the second look
    # finds both held.
    assert recording.record(batch, worker) == {}
    assert len(calls) == 2
    assert logged(first) == logged(second) == ["done"]
    assert Execution.objects.get(pk=first.pk).processed_count == 1


@pytest.mark.parametrize("value", ["\0", "\ud800", "x" * 200_000, "🦊"])
def test_any_text_can_be_written(running: list[Execution], worker: Worker, value: str) -> None:
    stored = record(
        worker,
        running[0],
        line(value, logger=value),
        Progress(done=1, text=value),
        Checkpoint(value={value: value}),
        ExecutorNote(text=value),
    )
    entry = stored.log_lines.get()
    assert 0 < len(entry.logger) <= 200
    assert 0 < len(entry.message) <= 100_000
    assert stored.reason == entry.message == stored.progress["text"]
    assert stored.checkpoint


@pytest.mark.parametrize(
    ("value", "stored_as"),
    [(float("nan"), "nan"), (float("-inf"), "-inf"), (Decimal("1.5"), "1.5"), (0.25, 0.25)],
)
def test_any_number_can_be_written(
    running: list[Execution], worker: Worker, value: Any, stored_as: Any
) -> None:
    assert record(worker, running[0], Checkpoint(value=[value])).checkpoint == [stored_as]


@pytest.mark.parametrize(
    "bad",
    [
        line(logged_at="not a moment"),
        line(level=None),
        Counts(processed="many"),  # type: ignore[arg-type]
    ],
)
def test_an_unwritable_message_stops_no_other(
    running: list[Execution], worker: Worker, caplog: pytest.LogCaptureFixture, bad: Message
) -> None:
    first, second, third = running
    batch = [
        *sent(first, line("a"), Counts(processed=1)),
        *sent(second, line("b"), bad, line("c"), Progress(done=1)),
        *sent(third, line("d")),
    ]
    assert recording.record(batch, worker) == {}
    assert [logged(execution) for execution in running] == [["a"], ["b", "c"], ["d"]]
    assert Execution.objects.get(pk=first.pk).processed_count == 1
    assert Execution.objects.get(pk=second.pk).progress["done"] == 1
    [said] = [item for item in caplog.records if item.name == recording.__name__]
    assert f"execution={second.pk} attempt=1" in said.getMessage()


def test_a_failing_database_leaves_messages_with_the_caller(
    running: list[Execution], worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*args: Any, **options: Any) -> int:
        raise OperationalError("server closed the connection")

    monkeypatch.setattr(recording, "update_each", away)
    with pytest.raises(OperationalError):
        recording.record(sent(running[0], *everything()), worker)
    assert_unspoken(running[0])


def test_lines_go_with_their_execution(running: list[Execution], worker: Worker) -> None:
    for execution in running[:2]:
        record(worker, execution, line(), line())
    Execution.objects.get(pk=running[0].pk).delete()
    Execution.objects.filter(pk=running[1].pk).delete()
    assert not ExecutionLog.objects.exists()


@override_settings(SCHEDULED_TASKS={"MAX_STORED_LENGTH": 1_000})
def test_long_lines_are_cut(running: list[Execution], worker: Worker) -> None:
    stored = record(worker, running[0], line("x" * 5_000), ExecutorNote(text="y" * 5_000))
    for text in (logged(stored)[0], stored.reason):
        assert len(text) <= 1_000
        assert "characters cut" in text


def test_lines_stay_in_the_order_they_were_said(running: list[Execution], worker: Worker) -> None:
    earlier = line("second", logged_at=START - timedelta(hours=1))
    record(worker, running[0], line("first"), earlier)
    assert logged(record(worker, running[0], line("third"))) == ["first", "second", "third"]


def test_what_was_written_is_not_written_again(running: list[Execution], worker: Worker) -> None:
    said = sent(running[0], line("one"), Counts(processed=1), line("two"))
    assert recording.record(said, worker) == {}
    more = [*said, *sent(running[0], line("three"))]
    assert recording.record(more, worker) == {}, "as when the answer to a COMMIT was lost"
    assert logged(running[0]) == ["one", "two", "three"]
    stored = Execution.objects.get(pk=running[0].pk)
    assert (stored.log_count, stored.message_count) == (3, more[-1].number)
    assert recording.record(said, worker) == {}
    assert logged(running[0]) == ["one", "two", "three"]


def test_messages_stay_in_order_when_batches_are_split(
    running: list[Execution], worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that is held up in the first half of a batch is left alone in the second."""
    locked, poisoned = running[:2]
    said = [*sent(locked, line("one"), line("two")), *sent(poisoned, line("bad"), line("good"))]
    said = [said[0], said[2], said[1], said[3]]
    write, looks = recording.write_messages, count(1)

    def parted(batch: Sequence[Envelope], *args: Any, **options: Any) -> dict[Claim, bool]:
        if len(batch) > 1 and any(each is said[1] for each in batch):
            raise ValueError("one of them cannot be written")
        mine = [each for each in batch if each.execution_id == locked.pk]
        if mine and next(looks) == 1:
            rest = [each for each in batch if each not in mine]
            held = {(locked.pk, locked.attempt): True}
            return held | (write(rest, *args, **options) if rest else {})
        result: dict[Claim, bool] = write(batch, *args, **options)
        return result

    monkeypatch.setattr(recording, "write_messages", parted)
    assert recording.record(said, worker) == {(locked.pk, locked.attempt): True}
    assert (logged(locked), logged(poisoned)) == ([], ["bad", "good"])
    assert recording.record([said[0], said[2]], worker) == {}
    assert logged(locked) == ["one", "two"]
