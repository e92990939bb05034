"""When a worker runs suspects; docs/runs.md has the rules."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from scheduled_tasks import run_task_now
from scheduled_tasks.models import Execution, Task
from scheduled_tasks.runtime.runs import Run
from scheduled_tasks.worker.scheduler import RECHECK_SECONDS, Scheduler
from tests.policies.scripted import ScriptedExecutor
from tests.support.attempts import NOTHING, loss, outcome

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

SECOND = timedelta(seconds=1)
Make = Callable[..., Task]


@pytest.fixture
def worker(scheduler: Callable[..., Scheduler]) -> Scheduler:
    return scheduler(executor=ScriptedExecutor, concurrency=3, monotonic=lambda: 0.0)


@pytest.fixture
def queue(make_task: Make, now: datetime) -> Callable[..., Execution]:
    """Queue an execution of a new task, by default of a suspect."""

    def make(name: str, probation: int | None = 30, **policies: object) -> Execution:
        task = make_task(name, NOTHING, **policies)
        task.state.probation_seconds = probation
        task.state.save()
        return run_task_now(name, now=now)

    return make


def held(worker: Scheduler) -> list[str]:
    return sorted(run.task_name for run in worker.engine.executor.in_hand)


def end(worker: Scheduler, name: str, now: datetime) -> None:
    [run] = [run for run in worker.engine.executor.in_hand if run.task_name == name]
    worker.engine.executor.opened(ScriptedExecutor).deliver(outcome_of(run, now))


def outcome_of(run: Run, now: datetime) -> object:
    return outcome(Execution(pk=run.execution_id, attempt=run.attempt), now)


def turns(worker: Scheduler, seconds: int, now: datetime) -> list[list[str]]:
    """Return what runs in each of some seconds, if every run takes one."""
    found = []
    for second in range(seconds):
        worker.tick(now + second * SECOND)
        found.append(held(worker))
        for name in held(worker):
            end(worker, name, now)
    return found


def test_more_and_more_suspects_run_together(
    scheduler: Callable[..., Scheduler], queue: Callable[..., Execution], now: datetime
) -> None:
    worker = scheduler(executor=ScriptedExecutor, concurrency=5, monotonic=lambda: 0.0)
    for number in range(10):
        queue(f"task-{number}")
    found = []
    for second in range(5):
        worker.tick(now + second * SECOND)
        found.append(len(held(worker)))
        for name in held(worker):
            end(worker, name, now)
    # Not eight: there are five places.
    assert found == [1, 2, 4, 3, 0]


def test_suspects_begin_one_at_a_time_again_later(
    worker: Scheduler, queue: Callable[..., Execution], now: datetime
) -> None:
    for name in ("one", "two"):
        queue(name)
        worker.tick(now)
        end(worker, name, now)
        worker.tick(now)
        now += 600 * SECOND
    for name in ("three", "four"):
        queue(name)
    worker.tick(now)
    assert held(worker) == ["three"]


def test_after_a_loss_one_suspect_runs_again(
    worker: Scheduler, queue: Callable[..., Execution], now: datetime
) -> None:
    """The fork server was killed by one of two: others are not put at risk in fours."""
    for number in range(6):
        queue(f"task-{number}")
    worker.tick(now)
    end(worker, "task-0", now)
    worker.tick(now + SECOND)
    assert held(worker) == ["task-1", "task-2"]
    for run in list(worker.engine.executor.in_hand):
        lost = loss(Execution(pk=run.execution_id, attempt=run.attempt))
        worker.engine.executor.opened(ScriptedExecutor).deliver(lost)
    worker.tick(now + 2 * SECOND)
    assert held(worker) == ["task-3"]


def test_what_was_lost_twice_runs_alone(
    worker: Scheduler, queue: Callable[..., Execution], now: datetime
) -> None:
    for name, probation in (("a", 120), ("b", 30), ("c", 120), ("d", 30), ("e", 30)):
        queue(name, probation)
    assert turns(worker, 5, now) == [["b"], ["d", "e"], ["a"], ["c"], []]


def test_what_runs_once_at_most_runs_alone(
    worker: Scheduler, queue: Callable[..., Execution], now: datetime
) -> None:
    queue("first")
    for name in ("one", "two"):
        queue(name, on_lost="fail")
    assert turns(worker, 4, now) == [["first"], ["one"], ["two"], []]


def test_others_join_a_suspect_after_its_probation(
    worker: Scheduler, queue: Callable[..., Execution], now: datetime
) -> None:
    suspect = queue("suspect", 120)
    queue("other", None)
    worker.tick(now)
    worker.tick(now + 119 * SECOND)
    assert held(worker) == ["suspect"]
    worker.tick(now + 120 * SECOND)
    assert held(worker) == ["other", "suspect"]
    suspect.refresh_from_db()
    assert (suspect.alone_on, suspect.probation_seconds) == ("", 120)


def test_a_suspect_waits_for_an_empty_worker(
    worker: Scheduler, queue: Callable[..., Execution], now: datetime
) -> None:
    queue("long", None)
    worker.tick(now)
    suspect = queue("suspect", 120)
    queue("other", None)
    worker.tick(now + SECOND)
    assert held(worker) == ["long"]
    assert worker.engine.next_work is None
    end(worker, "long", now)
    worker.tick(now + 2 * SECOND)
    assert held(worker) == ["suspect"]
    suspect.refresh_from_db()
    assert suspect.alone_on == worker.engine.worker.host


def test_a_suspect_waits_no_longer_than_its_probation(
    worker: Scheduler, queue: Callable[..., Execution], now: datetime
) -> None:
    queue("long", None)
    worker.tick(now)
    suspect = queue("suspect")
    queue("other", None)
    worker.tick(now + SECOND)
    worker.tick(now + 30 * SECOND)
    assert held(worker) == ["long"]
    worker.tick(now + 31 * SECOND)
    assert held(worker) == ["long", "suspect"]
    suspect.refresh_from_db()
    assert suspect.alone_on == ""


def test_suspects_and_others_take_turns(
    worker: Scheduler, queue: Callable[..., Execution], now: datetime
) -> None:
    for name in ("s1", "s2", "s3", "s4"):
        queue(name)
    for name in ("o1", "o2", "o3"):
        queue(name, None)
    found = []
    for second in range(0, 151, 30):
        worker.tick(now + second * SECOND)
        found.append(held(worker))
        for name in held(worker):
            end(worker, name, now)
    # Two turns of suspects take a minute; then others have the worker, until nothing else is due.
    assert found == [["s1"], ["s2", "s3"], ["o1", "o2", "o3"], ["s4"], [], []]


def test_nothing_is_claimed_next_to_a_suspect(
    worker: Scheduler, queue: Callable[..., Execution], now: datetime, make_task: Make
) -> None:
    queue("suspect")
    worker.tick(now)
    make_task("slots", NOTHING, "every 5 seconds")
    worker.tick(now + 6 * SECOND)
    assert held(worker) == ["suspect"]
    end(worker, "suspect", now)
    worker.tick(now + 7 * SECOND)
    assert held(worker) == ["slots"]


def test_a_higher_priority_comes_before_suspects(
    worker: Scheduler, queue: Callable[..., Execution], now: datetime
) -> None:
    queue("suspect")
    queue("urgent", None, priority=5)
    worker.tick(now)
    assert held(worker) == ["urgent"]


def test_waiting_suspects_do_not_keep_the_loop_busy(
    worker: Scheduler, queue: Callable[..., Execution], now: datetime
) -> None:
    queue("long", None)
    worker.tick(now)
    queue("suspect")
    tick = worker.tick(now + SECOND)
    pause = worker.seconds_until_next(tick, now + SECOND)
    assert pause > max(RECHECK_SECONDS)
