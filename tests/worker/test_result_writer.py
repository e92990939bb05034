"""Messages of runs: written during the run, in order, and only by the worker that holds it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
from django.db import DataError, InternalError, OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from scheduled_tasks import TaskContext, scheduled_task
from scheduled_tasks.exceptions import LeaseLost
from scheduled_tasks.executors.base import MAX_UNWRITTEN_MESSAGES
from scheduled_tasks.executors.thread import ThreadExecutor
from scheduled_tasks.lifecycle import claiming, ending, recording
from scheduled_tasks.models import Execution, ExecutionLog, Task, Worker
from scheduled_tasks.operations.tasks import run_task_now
from scheduled_tasks.runtime.clock import Clock
from scheduled_tasks.runtime.messages import Envelope, ExecutorNote
from scheduled_tasks.runtime.runs import Ending
from scheduled_tasks.worker.result_writer import ResultWriter
from scheduled_tasks.worker.scheduler import Scheduler
from tests.support.attempts import NOTHING, outcome
from tests.support.processes import LONG, wait_until
from tests.support.tracing import untraced

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("registry")]

Make = Callable[..., Task]
MakeScheduler = Callable[..., Scheduler]


class Hold:
    """Lets a handler in a thread and its test wait for each other."""

    def __init__(self) -> None:
        self.said = threading.Event()
        self.go = threading.Event()

    def __call__(self) -> None:
        """Signal that the handler is here, and wait until the test lets it continue."""
        self.said.set()
        assert self.go.wait(LONG)


@pytest.fixture
def hold() -> Iterator[Hold]:
    hold = Hold()
    yield hold
    hold.go.set()


@pytest.fixture
def threaded(scheduler: MakeScheduler) -> Iterator[MakeScheduler]:
    """Return a maker of schedulers that run their executions in threads."""
    made: list[Scheduler] = []

    def make(**options: Any) -> Scheduler:
        made.append(scheduler(executor=ThreadExecutor, concurrency=2, **options))
        return made[-1]

    yield make
    for worker in made:
        attend(worker, lambda worker=worker: not worker.engine.executor.leaves_code_running)
        worker.close()


def attend(worker: Scheduler, condition: Callable[[], bool]) -> None:
    """Let a worker write results until a condition is true."""

    def is_true() -> bool:
        worker.engine.write_results()
        return condition()

    wait_until(is_true, within=LONG)


def start(worker: Scheduler, make_task: Make, name: str, **payload: Any) -> Execution:
    make_task(name, f"jobs.{name.partition('-')[0]}", payload=payload)
    execution = run_task_now(name)
    assert worker.tick(execution.run_after).claimed == 1
    return execution


def test_messages_are_written_during_the_run(
    make_task: Make, threaded: MakeScheduler, hold: Hold
) -> None:
    @scheduled_task(name="jobs.say")
    def say(context: TaskContext) -> str:
        context.logger.info("begun")
        context.progress(1, 4, "a quarter")
        context.record(processed=3, errors=1)
        context.record(processed=2)
        hold()
        return "said"

    worker = threaded()
    execution = start(worker, make_task, "say")
    begun = time.monotonic()
    while fresh(execution).processed_count < 5:
        worker.sleep(LONG)
        worker.engine.write_results()
    assert time.monotonic() - begun < LONG / 2, "nothing woke it"
    assert (execution.status, execution.progress["text"]) == ("running", "a quarter")
    assert (execution.processed_count, execution.error_count) == (5, 1)
    line = execution.log_lines.get()
    assert (line.message, line.attempt, line.logger) == ("begun", 1, "scheduled_tasks.run.say")
    hold.go.set()
    attend(worker, lambda: fresh(execution).finished)
    assert (execution.status, execution.result) == ("partial", "said")
    assert (execution.processed_count, execution.error_count) == (5, 1)


def test_a_checkpoint_is_written_when_assigned(make_task: Make, threaded: MakeScheduler) -> None:
    @scheduled_task(name="jobs.save")
    def save(context: TaskContext) -> list[Any]:
        context.progress(1)
        seen = []
        for number in range(3):
            context.checkpoint = {"at": number}
            seen.append(Execution.objects.get().checkpoint)
        return seen

    worker = threaded()
    execution = start(worker, make_task, "save")
    attend(worker, lambda: fresh(execution).finished)
    assert execution.result == [{"at": 0}, {"at": 1}, {"at": 2}]


def test_many_lines_are_written_as_quickly_as_one(
    make_task: Make, threaded: MakeScheduler, hold: Hold
) -> None:
    claimed = threading.Event()  # only then, or the tick that claims it may write the lines as well

    @scheduled_task(name="jobs.say")
    def say(context: TaskContext, *, lines: int) -> None:
        assert claimed.wait(LONG)
        for number in range(lines):
            context.logger.info("line %s", number)
        hold()

    worker, statements = threaded(), []
    for lines in (1, 150):
        for event in (claimed, hold.said, hold.go):
            event.clear()
        execution = start(worker, make_task, f"say-{lines}", lines=lines)
        claimed.set()
        assert hold.said.wait(LONG)
        with CaptureQueriesContext(connection) as captured:
            worker.engine.write_results()
        statements.append(len(captured))
        messages = [line.message for line in execution.log_lines.order_by("pk")]
        assert messages == [f"line {number}" for number in range(lines)]
        hold.go.set()
        attend(worker, lambda execution=execution: fresh(execution).finished)
    assert statements[0] == statements[1]


@pytest.mark.parametrize(
    "taken",
    [
        {"worker": "11111111-1111-1111-1111-111111111111"},
        {"attempt": 2},
        {"status": "queued", "exclusive": None},
        {"status": "failed", "exclusive": None},
    ],
    ids=str,
)
@pytest.mark.parametrize("how", ["checkpoint", "progress"])
def test_a_run_of_another_worker_ends_without_traces(
    make_task: Make, threaded: MakeScheduler, hold: Hold, taken: dict[str, Any], how: str
) -> None:
    heard: list[str] = []

    @scheduled_task(name="jobs.say")
    def say(context: TaskContext) -> None:
        hold()
        context.logger.info("still here")
        try:
            while True:
                if how == "checkpoint":
                    context.checkpoint = 1
                else:
                    context.progress(1)
                    time.sleep(0.001)
        except LeaseLost:
            heard.append("lost")
            raise

    worker = threaded()
    execution = start(worker, make_task, "say")
    assert hold.said.wait(LONG)
    Execution.objects.update(**taken)
    hold.go.set()
    attend(worker, lambda: not worker.engine.executor.in_hand)
    assert heard == ["lost"]
    as_it_was = {"worker": str(worker.engine.worker.pk), "attempt": 1, "status": "running", **taken}
    assert Execution.objects.filter(**as_it_was, finished_at=None).exists()
    assert (fresh(execution).checkpoint, execution.progress, execution.error) == (None, None, "")
    assert not ExecutionLog.objects.exists()
    assert Task.objects.get().state.execution_count == 0


def test_messages_survive_a_rollback_of_the_handler(
    make_task: Make, scheduler: MakeScheduler
) -> None:
    @scheduled_task(name="jobs.say")
    def say(context: TaskContext) -> None:
        with transaction.atomic():
            Worker.objects.create(label="of the handler", host="h", pid=1)
            context.logger.info("before")
            context.record(processed=2)
            context.checkpoint = [2]
            raise ValueError("rolled back")

    execution = start(scheduler(), make_task, "say")
    assert (fresh(execution).status, execution.error) == ("failed", "ValueError: rolled back")
    assert (execution.processed_count, execution.checkpoint) == (2, [2])
    assert execution.log_lines.get().message == "before"
    assert not Worker.objects.filter(label="of the handler").exists()


@untraced
def test_a_checkpoint_is_handed_to_the_next_attempt(
    make_task: Make, threaded: MakeScheduler, scheduler: MakeScheduler, hold: Hold
) -> None:
    @scheduled_task(name="jobs.go_on")
    def go_on(context: TaskContext) -> Any:
        if context.checkpoint is None:
            context.checkpoint = {"done": 40}
            hold()
        return {"before": context.checkpoint, "attempt": context.attempt}

    first = threaded()
    execution = start(first, make_task, "go_on")
    attend(first, hold.said.is_set)
    first.engine.executor.abandon()
    first.engine.write_results()
    assert (fresh(execution).status, execution.losses) == ("queued", 0)
    scheduler().tick(execution.run_after)
    assert fresh(execution).result == {"before": {"done": 40}, "attempt": 2}


def test_unwritten_messages_are_written_once_in_order(
    make_task: Make, scheduler: MakeScheduler, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, "BATCH_SIZE": 2}
    record, troubles = recording.record, iter([False, True, True, False, False, False])

    def record_at_times(sent: list[Envelope], worker: Worker, **options: Any) -> Any:
        if sent and next(troubles):
            raise OperationalError("the database is away")
        return record(sent, worker, **options)

    @scheduled_task(name="jobs.say")
    def say(context: TaskContext) -> str:
        for number in range(5):
            context.logger.info("line %s", number)
        context.record(processed=1)
        return "said"

    make_task("say", "jobs.say")
    execution = run_task_now("say")
    monkeypatch.setattr(recording, "record", record_at_times)
    worker = scheduler()
    with pytest.raises(OperationalError):
        worker.tick(execution.run_after)
    with pytest.raises(OperationalError):
        worker.engine.write_results()
    assert worker.unfinished
    assert (fresh(execution).status, execution.log_lines.count()) == ("running", 2)
    assert worker.engine.write_results() == 1
    assert (fresh(execution).status, execution.result) == ("success", "said")
    lines = [line.message for line in execution.log_lines.order_by("pk")]
    assert lines == [f"line {number}" for number in range(5)]
    assert execution.processed_count == 1
    assert not worker.unfinished


def test_a_read_only_database_drops_nothing(
    make_task: Make, threaded: MakeScheduler, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    @scheduled_task(name="jobs.save")
    def save(context: TaskContext) -> None:
        hold()
        context.checkpoint = {"at": 1}

    def refuse(*_: Any, **__: Any) -> None:
        raise InternalError("cannot execute UPDATE in a read-only transaction")

    worker = threaded()
    execution = start(worker, make_task, "save")
    assert hold.said.wait(LONG)
    with monkeypatch.context() as reading_only:
        reading_only.setattr(recording, "write_messages", refuse)
        hold.go.set()
        with pytest.raises(InternalError):
            attend(worker, lambda: False)
    assert (fresh(execution).status, worker.unfinished) == ("running", True)
    attend(worker, lambda: fresh(execution).finished)
    assert (execution.status, execution.checkpoint) == ("success", {"at": 1})


class Given:
    """An executor that has these endings, and nothing else."""

    def __init__(self, *endings: Ending) -> None:
        self.endings = list(endings)

    def messages(self) -> list[Envelope]:
        return []

    def finished(self) -> list[Ending]:
        given, self.endings = self.endings, []
        return given


@pytest.mark.usefixtures("nothing")
def test_an_ending_that_is_refused_stops_nothing(
    make_task: Make, worker: Worker, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that the database refuses in any form is kept, and the others are written."""
    task = make_task("one", NOTHING, overlap_policy="allow")
    for _ in range(3):
        Execution.for_task(task, trigger="manual", now=now).save()
    claimed = claiming.claim(worker, now, limit=3, handlers=[NOTHING]).rows
    write = ending.write_endings

    def refuse(endings: Any, *arguments: Any, **options: Any) -> Any:
        if any(row.pk == claimed[1].pk for row in endings):
            raise DataError("out of range")
        return write(endings, *arguments, **options)

    monkeypatch.setattr(ending, "write_endings", refuse)
    writer = ResultWriter(Given(*(outcome(each, now) for each in claimed)), worker, Clock())
    assert [writer.flush() for _ in range(3)] == [2, 0, 0]
    assert [fresh(each).status for each in claimed] == ["success", "running", "success"]
    assert writer.unwritten
    monkeypatch.undo()
    assert (writer.flush(), writer.unwritten) == (1, False)
    assert fresh(claimed[1]).reason.startswith("The result or error could not be stored: out of")


def test_a_full_writer_fetches_nothing(
    scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[int] = []
    source = scheduler().engine.executor
    result_writer = ResultWriter(source, Worker(label="w"), Clock())
    monkeypatch.setattr(source, "messages", lambda: fetched.append(1) or [])
    result_writer._messages = [
        Envelope(execution_id=1, attempt=1, number=1, message=ExecutorNote(text="x"))
    ] * MAX_UNWRITTEN_MESSAGES
    monkeypatch.setattr(result_writer, "record", lambda sent, skip: {(1, 1)})
    result_writer.flush()
    result_writer.flush()
    assert (fetched, len(result_writer._messages_held_up)) == ([], MAX_UNWRITTEN_MESSAGES)
    monkeypatch.setattr(result_writer, "record", lambda sent, skip: set())
    result_writer.flush()
    result_writer.flush()
    assert (fetched, result_writer.unwritten) == ([1], False)


def fresh(execution: Execution) -> Execution:
    execution.refresh_from_db()
    return execution
