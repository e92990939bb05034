"""How runs end whose handler comes back: whole, in part, or with nothing to do."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import override_settings

from scheduled_tasks import Partial, Skip, TaskContext, scheduled_task
from scheduled_tasks.exceptions import TimeLimitExceeded
from scheduled_tasks.executors.runner import perform
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Execution, Task
from scheduled_tasks.runtime.cancellation import Cancellation
from scheduled_tasks.runtime.messages import Counts, Message, StartedOver
from scheduled_tasks.runtime.runs import Outcome, Run
from scheduled_tasks.worker.scheduler import Scheduler
from tests.executors.runs import clock, run_of
from tests.support.recorders import FakeRecorder
from tests.support.registries import isolated

Make = Callable[..., Any]


class Runs:
    """Runs handlers, each once, and keeps what they say."""

    def __init__(self, registry: HandlerRegistry) -> None:
        self.registry = registry
        self.recorder = FakeRecorder()

    def __call__(self, handler: Callable[..., Any], **fields: Any) -> Outcome:
        self.recorder = FakeRecorder()
        run: Run = replace(run_of(7), **fields)
        with isolated(self.registry):
            scheduled_task(name="shop.job")(handler)
            return perform(run, clock=clock, recorder=self.recorder, cancellation=Cancellation())

    @property
    def said(self) -> list[Message]:
        return self.recorder.sent


@pytest.fixture
def runs(registry: HandlerRegistry) -> Runs:
    return Runs(registry)


def test_a_run_that_counted_errors_succeeds_in_part(runs: Runs) -> None:
    def send(context: TaskContext) -> str:
        context.record(processed=3)
        context.record(processed=1, errors=1)
        return "sent"

    outcome = runs(send)
    assert (outcome.status, outcome.result, outcome.reason) == ("partial", "sent", "")
    assert runs.said == [Counts(processed=3), Counts(processed=4, errors=1)]
    assert not outcome.may_be_retried


def test_a_handler_can_report_partial_success(runs: Runs) -> None:
    outcome = runs(lambda: Partial({"sent": 3}, "The gateway closed at noon, password=x."))
    assert (outcome.status, outcome.result) == ("partial", {"sent": 3})
    assert outcome.reason == "The gateway closed at noon, password=[redacted]"
    assert runs(lambda: Partial(None)).result is None


@pytest.mark.parametrize("error", [Skip("below threshold"), Skip()])
def test_a_handler_can_skip_its_run(runs: Runs, error: Skip) -> None:
    def job() -> None:
        raise error

    outcome = runs(job)
    assert outcome.status == "skipped"
    assert outcome.reason in ("below threshold", "The handler had nothing to do.")
    assert (outcome.error, outcome.error_category, outcome.traceback) == ("", "", "")
    assert not outcome.may_be_retried


def test_an_async_handler_can_do_both(runs: Runs) -> None:
    async def skip() -> None:
        raise Skip("nothing new")

    async def part() -> Partial:
        return Partial(1)

    assert runs(skip).status == "skipped"
    assert runs(part).status == "partial"


def test_a_timed_out_run_that_skips_has_failed(
    runs: Runs,
) -> None:
    def job(context: TaskContext) -> None:
        with pytest.raises(TimeLimitExceeded):
            context.cancellation.request(TimeLimitExceeded, "Timed out after 1 s.")
        raise Skip("too late")

    outcome = runs(job)
    assert (outcome.status, outcome.error_category) == ("failed", "timeout")


def test_counts_continue_after_a_checkpoint(runs: Runs) -> None:
    def job(context: TaskContext) -> None:
        context.record(processed=1)

    before = {"attempt": 2, "processed_count": 40, "error_count": 2}
    outcome = runs(job, checkpoint={"page": 4}, **before)
    assert runs.said == [Counts(processed=41, errors=2)]
    assert outcome.status == "partial", "the errors of the attempt before are errors of its work"


def test_counting_begins_anew_where_the_work_does(runs: Runs) -> None:
    def job(context: TaskContext) -> None:
        context.record(processed=1)

    outcome = runs(job, attempt=2, processed_count=40, error_count=2)
    assert runs.said == [StartedOver(), Counts(processed=1)]
    assert outcome.status == "success"
    assert StartedOver() not in (runs(job), runs.said)[1]


def test_results_are_json_or_text_with_a_warning(
    runs: Runs,
) -> None:
    number = uuid.UUID(int=7)
    result = runs(
        lambda: {
            "day": date(2026, 3, 1),
            "at": datetime(2026, 3, 1, 12, tzinfo=UTC),
            "took": timedelta(seconds=90),
            "price": Decimal("9.90"),
            "id": number,
            "api_token": "hunter2xyz",
            "pages": (1, 2),
        }
    ).result
    assert result == {
        "day": "2026-03-01",
        "at": "2026-03-01T12:00:00Z",
        "took": "P0DT00H01M30S",
        "price": "9.90",
        "id": str(number),
        "api_token": "[redacted]",
        "pages": [1, 2],
    }
    outcome = runs(lambda: {"handle": object})
    assert (outcome.status, outcome.result) == ("success", "{'handle': <class 'object'>}")
    assert "stored as text" in runs.recorder.texts[0]


def test_a_long_result_is_cut_with_a_mark(runs: Runs) -> None:
    with override_settings(SCHEDULED_TASKS={"MAX_STORED_LENGTH": 1_000}):
        outcome = runs(lambda: ["x" * 100] * 100)
    assert outcome.status == "success"
    assert len(outcome.result) <= 1_000
    assert "characters cut" in outcome.result
    assert "result cut to 1000 characters" in runs.recorder.texts[0]


def test_the_last_messages_arrive_before_the_end(runs: Runs) -> None:
    def job(context: TaskContext) -> None:
        context.progress(1, 2)
        context.progress(2, 2)

    runs(job)
    assert [message.done for message in runs.said] == [1, 2]  # type: ignore[union-attr]


def test_a_task_goes_by_how_its_runs_ended(
    registry: HandlerRegistry,
    make_task: Make,
    now: datetime,
    scheduler: Callable[..., Scheduler],
) -> None:
    seen: list[tuple[int, datetime | None]] = []
    ends: list[Any] = ["fine", ValueError(), Partial(), ValueError(), Skip("no"), "fine", "fine"]

    @scheduled_task(name="shop.job")
    def job(context: TaskContext) -> Any:
        seen.append((context.execution_count, context.last_success_at))
        end = ends[len(seen) - 1]
        if isinstance(end, Exception):
            raise end
        return end

    task: Task = make_task("job", "shop.job", "every 1 minute")
    worker = scheduler()
    failures = []
    for minute in range(1, len(ends) + 1):
        worker.tick(now + timedelta(minutes=minute))
        task.state.refresh_from_db()
        failures.append(task.state.consecutive_failures)
    rows = list(Execution.objects.order_by("pk"))
    statuses = ["success", "failed", "partial", "failed", "skipped", "success", "success"]
    assert [row.status for row in rows] == statuses
    assert failures == [0, 1, 0, 1, 1, 0, 0]
    assert [count for count, _ in seen] == list(range(7))
    whole = rows[0].started_at
    assert [last for _, last in seen] == [None, *[whole] * 5, rows[5].started_at]
