"""A worker whose connection breaks after a commit and before the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
from django.db import OperationalError

from scheduled_tasks.lifecycle import claiming, recording
from scheduled_tasks.lifecycle.ending import end
from scheduled_tasks.models import Execution, Task, Worker
from scheduled_tasks.operations.tasks import run_task_now
from scheduled_tasks.runtime.clock import Clock
from scheduled_tasks.runtime.messages import Envelope
from scheduled_tasks.runtime.runs import Ending
from scheduled_tasks.signals import execution_finished
from scheduled_tasks.worker import result_writer
from scheduled_tasks.worker.result_writer import ResultWriter
from scheduled_tasks.worker.scheduler import Scheduler
from tests.support.attempts import NOTHING, loss, outcome

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]


def test_an_unanswered_claim_is_given_back_and_run(
    make_task: Callable[..., Task],
    scheduler: Callable[..., Scheduler],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    claim = claiming.claim

    def claim_and_lose_the_answer(*given: Any, **options: Any) -> claiming.Claimed:
        claim(*given, **options)
        raise OperationalError("server closed the connection unexpectedly")

    make_task("answer", NOTHING)
    execution = run_task_now("answer")
    now: datetime = execution.run_after
    worker = scheduler()
    with monkeypatch.context() as broken:
        broken.setattr(claiming, "claim", claim_and_lose_the_answer)
        with pytest.raises(OperationalError) as caught:
            worker.tick(now)
    broken_off = fresh(execution)
    assert (broken_off.status, broken_off.worker) == ("running", str(worker.engine.worker.pk))
    monkeypatch.setattr("scheduled_tasks.worker.scheduler.connections.close_all", lambda: None)
    worker.recover(caught.value, 1)
    worker.tick(now)
    worker.tick(worker.engine.clock.now())
    done = fresh(execution)
    assert (done.status, done.attempt, done.losses) == ("success", 2, 0)


def test_an_unanswered_claim_is_given_back_at_shutdown(
    make_task: Callable[..., Task],
    scheduler: Callable[..., Scheduler],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_task("answer", NOTHING)
    execution = run_task_now("answer")
    worker = scheduler(poll_interval=0.01)
    worker.engine.start(execution.run_after)
    monkeypatch.setattr(worker.engine, "start_all", list)
    worker.engine.claim(execution.run_after)
    monkeypatch.setattr("scheduled_tasks.worker.scheduler.connections.close_all", lambda: None)
    worker.recover(OperationalError("server closed the connection unexpectedly"), 1)
    worker.shut_down()
    assert (fresh(execution).status, execution.losses) == ("queued", 0)


@pytest.fixture
def told() -> Iterator[list[int]]:
    told: list[int] = []

    def tell(execution: Execution, **_: Any) -> None:
        told.append(execution.pk)

    execution_finished.connect(tell)
    yield told
    execution_finished.disconnect(tell)


@pytest.fixture
def writer(worker: Worker, now: datetime) -> ResultWriter:
    return ResultWriter(Ended(), worker, StandingClock(now))


class Ended:
    """A source whose endings a test gives."""

    def __init__(self) -> None:
        self.endings: list[Ending] = []

    def messages(self) -> list[Envelope]:
        return []

    def finished(self) -> list[Ending]:
        given, self.endings = self.endings, []
        return given


class StandingClock(Clock):
    """A clock that stands still."""

    def __init__(self, moment: datetime) -> None:
        super().__init__()
        self.moment = moment

    def now(self) -> datetime:
        return self.moment


def flush_and_lose_the_answer(writer: ResultWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commit the ends, and lose the answer of the COMMIT."""

    def end_and_lose_the_answer(*given: Any, **options: Any) -> None:
        end(*given, **options)
        raise OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as broken:
        broken.setattr(result_writer, "end", end_and_lose_the_answer)
        with pytest.raises(OperationalError):
            writer.flush()


@pytest.fixture
def claimed(make_task: Callable[..., Task], writer: ResultWriter, now: datetime) -> list[Execution]:
    """Return two executions that the writer's worker has claimed."""
    make_task("answer", NOTHING, on_lost="fail", overlap_policy="allow")
    for _ in range(2):
        run_task_now("answer", now=now)
    rows = claiming.claim(writer.worker, now, limit=2, handlers=[NOTHING]).rows
    for row in rows:
        recording.record_begin((row.pk, row.attempt))
    return rows


@pytest.mark.parametrize("lost", [False, True])
def test_an_unanswered_end_is_announced_once(
    writer: ResultWriter,
    claimed: list[Execution],
    monkeypatch: pytest.MonkeyPatch,
    told: list[int],
    request: pytest.FixtureRequest,
    *,
    lost: bool,
) -> None:
    committed = request.getfixturevalue("django_capture_on_commit_callbacks")
    caplog = request.getfixturevalue("caplog")
    execution = claimed[0]
    writer.source.endings = [loss(execution) if lost else outcome(execution, writer.clock.now())]
    flush_and_lose_the_answer(writer, monkeypatch)
    assert (fresh(execution).finished, told) == (True, [])
    with committed(execute=True):
        writer.flush()
        writer.flush()
    assert told == [execution.pk]
    assert "taken from this worker" not in caplog.text


def test_an_end_is_announced_once_despite_failing_queries(
    writer: ResultWriter,
    claimed: list[Execution],
    monkeypatch: pytest.MonkeyPatch,
    told: list[int],
    django_capture_on_commit_callbacks: Any,
) -> None:
    mine, taken = claimed
    Execution.objects.filter(pk=taken.pk).update(attempt=2, worker="another")
    writer.source.endings = [outcome(each, writer.clock.now()) for each in claimed]

    def go_away(self: ResultWriter) -> set[Any]:
        raise OperationalError("server closed the connection unexpectedly")

    with django_capture_on_commit_callbacks(execute=True):
        with monkeypatch.context() as broken:
            broken.setattr(ResultWriter, "claims_in_database", go_away)
            with pytest.raises(OperationalError):
                writer.flush()
        writer.flush()
    assert told == [mine.pk]


def fresh(execution: Execution) -> Execution:
    execution.refresh_from_db()
    return execution
