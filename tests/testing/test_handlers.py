"""Running a handler without a task, a row or a database."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, date, datetime, timedelta

import pytest
from asgiref.sync import sync_to_async

from scheduled_tasks import Partial, Retry, RetryLater, Skip, TaskContext, scheduled_task
from scheduled_tasks.exceptions import InvalidPayload, TimeLimitExceeded, UnknownHandler
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.runtime.messages import Counts, Progress
from scheduled_tasks.testing import HandlerRun, run_handler

pytestmark = pytest.mark.usefixtures("registry")


def test_it_returns_the_result_as_stored() -> None:
    @scheduled_task(name="shop.report")
    def report(*, day: date) -> dict[str, date]:
        return {"day": day + timedelta(days=1)}

    for handler in (report, "shop.report", "report"):
        run = run_handler(handler, {"day": date(2026, 2, 28)})
        assert (run.status, run.result) == ("success", {"day": "2026-03-01"})
        assert run.succeeded
        run.assert_succeeded()


def test_a_handler_that_is_async_is_awaited() -> None:
    @scheduled_task(name="shop.wait")
    async def wait(context: TaskContext, *, fails: bool = False) -> int:
        context.logger.info("waiting")
        if fails:
            raise LookupError("nobody came")
        return context.attempt

    run = run_handler(wait, attempt=3)
    assert (run.status, run.result, run.log[0].message) == ("success", 3, "waiting")
    assert isinstance(run_handler(wait, {"fails": True}).exception, LookupError)


def test_in_an_event_loop_it_runs_beside_it() -> None:
    @scheduled_task(name="shop.wait")
    async def wait() -> str:
        await asyncio.sleep(0)
        return "done"

    async def from_a_thread() -> HandlerRun:
        return await sync_to_async(run_handler)(wait)

    assert asyncio.run(from_a_thread()).result == "done"


def test_the_context_is_what_the_test_says() -> None:
    seen: list[TaskContext] = []

    @scheduled_task(name="shop.look")
    def look(context: TaskContext, *, n: int = 0) -> None:
        seen.append(context)

    run_handler(
        look,
        {"n": 4},
        task_name="nightly",
        execution_id=7,
        attempt=2,
        scheduled_for="2026-03-28 12:00+01:00",
        schedule="0 12 * * *",
        trigger="catch_up",
        triggered_by="user:ada",
        test_mode=True,
        execution_count=5,
        last_success_at=datetime(2026, 3, 27, tzinfo=UTC),
        checkpoint={"page": 3},
    ).assert_succeeded()
    [context] = seen
    assert (context.task_name, context.execution_id, context.attempt) == ("nightly", 7, 2)
    assert context.scheduled_for == datetime(2026, 3, 28, 11, tzinfo=UTC)
    assert (context.schedule, context.trigger) == ("0 12 * * *", "catch_up")
    assert (context.triggered_by, context.test_mode) == ("user:ada", True)
    assert (context.execution_count, context.checkpoint) == (5, {"page": 3})
    assert context.last_success_at == datetime(2026, 3, 27, tzinfo=UTC)
    assert context.payload == {"n": 4}


def test_the_default_is_a_first_attempt_for_now() -> None:
    @scheduled_task(name="shop.look")
    def look(context: TaskContext) -> list[object]:
        assert not context.test_mode
        assert context.last_success_at is None
        assert context.checkpoint is None
        assert datetime.now(UTC) - context.scheduled_for < timedelta(minutes=5)
        return [context.attempt, context.task_name, context.trigger]

    assert run_handler(look).result == [1, "look", "schedule"]


def test_what_it_says_is_there() -> None:
    @scheduled_task(name="shop.talk")
    def talk(context: TaskContext) -> None:
        context.logger.info("begun for %s", context.task_name)
        context.logger.warning("slow")
        context.progress(1, 4, "first")
        context.progress(4, 4, "last")
        context.checkpoint = 1
        context.checkpoint = {"done": [1, 2]}
        context.record(processed=3)
        context.record(processed=2)
        context.heartbeat()

    run = run_handler(talk)
    assert [(line.level, line.message) for line in run.log] == [
        (logging.INFO, "begun for talk"),
        (logging.WARNING, "slow"),
    ]
    assert run.log[0].logger == "scheduled_tasks.run.talk"
    assert run.progress == Progress(done=4, total=4, text="last")
    assert (run.checkpoint, run.checkpoints) == ({"done": [1, 2]}, [1, {"done": [1, 2]}])
    assert run.counts == Counts(processed=5)
    assert run.status == "success"


def test_one_that_says_nothing_has_said_nothing() -> None:
    @scheduled_task(name="shop.quiet")
    def quiet() -> None: ...

    run = run_handler(quiet)
    assert (run.log, run.progress, run.checkpoint, run.checkpoints) == ([], None, None, [])
    assert run.counts == Counts()


def test_ways_to_end_that_are_no_failure() -> None:
    @scheduled_task(name="shop.end")
    def end(context: TaskContext, *, how: str) -> object:
        if how == "skipped":
            raise Skip("Nothing is due.")
        if how == "counted":
            context.record(processed=2, errors=1)
            return None
        return Partial({"sent": 1}, reason="One bounced.")

    run = run_handler(end, {"how": "skipped"})
    assert (run.status, run.reason, run.exception) == ("skipped", "Nothing is due.", None)
    assert not run.succeeded
    with pytest.raises(AssertionError, match=r"shop\.end ended as skipped: Nothing is due\."):
        run.assert_succeeded()
    run = run_handler(end, {"how": "partial"})
    assert (run.status, run.result, run.reason) == ("partial", {"sent": 1}, "One bounced.")
    run = run_handler(end, {"how": "counted"})
    assert (run.status, run.counts) == ("partial", Counts(processed=2, errors=1))
    run.assert_succeeded()


def test_a_failure_brings_its_exception_and_its_words() -> None:
    @scheduled_task(name="shop.fail", retry=Retry(give_up_on=(PermissionError,)))
    def fail(*, final: bool = False) -> None:
        raise PermissionError("locked") if final else ConnectionError("no answer")

    run = run_handler(fail)
    assert (run.status, run.error_category) == ("failed", "network")
    assert run.error == "ConnectionError: no answer"
    assert isinstance(run.exception, ConnectionError)
    assert run.retryable
    assert not run_handler(fail, {"final": True}).retryable
    first, second = run.traceback.splitlines()[:2]
    assert first.startswith("Traceback")
    assert __file__ in run.traceback
    assert "scheduled_tasks/testing" not in run.traceback
    assert second.strip().startswith("File")
    with pytest.raises(AssertionError, match=r"shop\.fail ended as failed: Traceback") as raised:
        run.assert_succeeded()
    assert raised.value.__cause__ is run.exception


def test_it_asks_to_be_run_again() -> None:
    @scheduled_task(name="shop.later")
    def later() -> None:
        raise RetryLater(90, "Not there yet.")

    run = run_handler(later)
    assert (run.status, run.retry_after) == ("failed", timedelta(seconds=90))
    assert run_handler(later).error.endswith("Not there yet.")


def test_the_payload_is_checked_as_before_any_run() -> None:
    @scheduled_task(name="shop.pay")
    def pay(*, amount: int) -> int:
        return amount

    run = run_handler(pay, {"amount": "many"})
    assert (run.status, run.error_category) == ("failed", "payload")
    assert isinstance(run.exception, InvalidPayload)
    assert "required" in run_handler(pay).error
    with pytest.raises(InvalidPayload, match="cannot be written as JSON"):
        run_handler(pay, {"amount": object()})


def test_its_timeout_counts() -> None:
    @scheduled_task(name="shop.slow")
    def slow() -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            pass

    run = run_handler(slow, timeout=0.05)
    assert (run.status, run.error_category) == ("failed", "timeout")
    assert isinstance(run.exception, TimeLimitExceeded)


def test_leaving_the_process_ends_the_run_only() -> None:
    @scheduled_task(name="shop.leave")
    def leave() -> None:
        raise SystemExit(3)

    run = run_handler(leave)
    assert (run.status, run.error) == ("failed", "SystemExit: 3")


def test_what_is_no_handler_is_refused(registry: HandlerRegistry) -> None:
    def plain() -> None: ...

    with pytest.raises(UnknownHandler, match="decorate it with @scheduled_task"):
        run_handler(plain)
    with pytest.raises(UnknownHandler, match=r"No handler is called 'shop\.gone'"):
        run_handler("shop.gone")
