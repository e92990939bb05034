"""Runs in threads that have to stop: asked, interrupted where they can be, never killed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from scheduled_tasks import TaskContext
from scheduled_tasks.exceptions import LeaseLost, RunInterrupted
from scheduled_tasks.executors import base, local_run
from scheduled_tasks.executors.base import NEVER
from scheduled_tasks.executors.local_run import LocalRun
from scheduled_tasks.runtime.cancellation import Cancellation
from scheduled_tasks.runtime.messages import Checkpoint, Counts, ExecutorNote, LogLine, Progress
from scheduled_tasks.runtime.runs import Loss, Run
from tests.executors.threads_in_hand import Holder, Stubborn, spin
from tests.support.processes import LONG, wait_until


def test_a_timeout_interrupts_a_busy_handler(holder: Holder) -> None:
    cleaned: list[bool] = []

    def job(context: TaskContext) -> None:
        try:
            spin()
        finally:
            cleaned.append(context.cancelled)

    holder.start(job, timeout=0.1)
    outcome = holder.outcome()
    assert (outcome.status, outcome.error_category) == ("failed", "timeout")
    assert outcome.error == "Timed out after 0.1 s."
    assert "in job" in outcome.traceback
    assert cleaned == [True]
    note = ExecutorNote(text="Timed out after 0.1 s. Still running.")
    assert holder.said == {1: [note]}
    assert holder.executor.stuck == frozenset()


def test_a_timeout_cancels_an_async_handler(holder: Holder) -> None:
    cleaned: list[int] = []

    async def job() -> None:
        try:
            await asyncio.sleep(LONG)
        finally:
            cleaned.append(1)

    holder.start(job, timeout=0.2)
    assert holder.outcome().error == "Timed out after 0.2 s."
    assert cleaned == [1]


def test_a_timed_out_loop_checking_cancelled_keeps_results(holder: Holder) -> None:
    def job(context: TaskContext) -> str:
        try:
            spin()
        except RunInterrupted:
            assert context.cancelled
        return "what was done"

    holder.start(job, timeout=0.1)
    outcome = holder.outcome()
    assert (outcome.error_category, outcome.result) == ("timeout", "what was done")


def test_a_run_ending_in_time_is_undisturbed(holder: Holder) -> None:
    holder.start(lambda_named("job"), timeout=0.2)
    assert holder.outcome().status == "success"
    holder.start(spin_a_little, 2)
    assert holder.outcome().status == "success"
    assert holder.said == {}


def lambda_named(name: str) -> Callable[[], None]:
    def function() -> None:
        pass

    function.__name__ = name
    return function


def spin_a_little() -> None:
    end = time.monotonic() + 0.4
    while time.monotonic() < end:
        pass


def test_a_run_outliving_the_grace_is_stuck(
    holder: Holder, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.SCHEDULED_TASKS = {"KILL_GRACE": 0.2}
    stubborn = Stubborn()
    holder.start(stubborn.job, timeout=0.1)
    holder.wait(lambda: holder.executor.stuck)
    assert holder.executor.stuck == {1}
    assert list(holder.executor.in_hand) == [1], "its place and its execution stay occupied"
    assert holder.executor.free == 1
    holder.wait(lambda: "its thread cannot be killed" in caplog.text)
    assert "Timed out after 0.1 s and did not stop within 0.2 s" in caplog.text
    stubborn.go.set()
    outcome = holder.outcome()
    assert (outcome.error_category, outcome.result) == ("timeout", "at last, cancelled=True")
    assert holder.executor.stuck == frozenset()


def test_ending_while_being_given_up_leaves_nothing_stuck(
    holder: Holder, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SCHEDULED_TASKS = {"KILL_GRACE": 0.1}
    stubborn, given_up = Stubborn(), threading.Event()
    give_up = holder.executor._mark_stuck

    def give_up_late(run: Run, reason: str) -> None:
        stubborn.go.set()
        wait_until(lambda: holder.executor._endings.qsize() > 0, within=LONG)
        give_up(run, reason)
        given_up.set()

    monkeypatch.setattr(holder.executor, "_mark_stuck", give_up_late)
    holder.start(stubborn.job, timeout=0.1)
    assert given_up.wait(LONG)
    holder.outcome()
    again = Stubborn()
    holder.start(again.job, attempt=2)
    assert again.begun.wait(LONG)
    assert holder.executor.stuck == frozenset()
    again.go.set()
    assert holder.outcome().attempt == 2


def test_an_abandoned_stuck_run_fails_with_its_timeout(holder: Holder, settings: Any) -> None:
    settings.SCHEDULED_TASKS = {"KILL_GRACE": 0.1}
    stubborn = Stubborn()
    holder.start(stubborn.job, timeout=0.1)
    holder.wait(lambda: holder.executor.stuck)
    holder.executor.abandon()
    outcome = holder.outcome()
    assert outcome.error_category == "timeout"
    assert outcome.error == (
        "Timed out after 0.1 s and did not stop within 0.1 s. A thread cannot "
        "be killed, so the worker exited."
    )
    assert holder.executor.leaves_code_running
    stubborn.go.set()
    holder.wait(lambda: not holder.executor.leaves_code_running)
    assert holder.endings == {}, "what it says at last is nobody's"


def test_a_result_that_never_ends_is_stuck(
    holder: Holder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Endless:
        def __repr__(self) -> str:
            returned.set()
            go.wait(LONG)
            return "at last"

    def job() -> Endless:
        return Endless()

    def time_out_then(self: LocalRun) -> None:
        returned.wait(LONG)
        time_out(self)

    time_out = LocalRun._time_out
    returned, go = threading.Event(), threading.Event()
    monkeypatch.setattr(local_run, "FINISH_SECONDS", 0.01)
    monkeypatch.setattr(LocalRun, "_time_out", time_out_then)
    holder.start(job, timeout=0.01)
    holder.wait(lambda: holder.executor.stuck)
    holder.executor.abandon()
    outcome = holder.outcome()
    assert (outcome.status, outcome.error_category) == ("failed", "crash")
    assert outcome.error == (
        "The handler ended, but its thread did not report how within 1 minute. A thread cannot be "
        "killed, so the worker exited."
    )
    assert (
        "its thread did not report how within 1 minute; its thread cannot be killed" in caplog.text
    )
    go.set()


def test_what_ends_once_it_is_abandoned_is_lost(
    holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()
    request = Cancellation.request

    def request_and_wait(self: Cancellation, *stop: Any) -> None:
        request(self, *stop)
        wait_until(lambda: not holder.executor._runs, within=LONG)

    def job() -> None:
        begun.set()
        spin()

    monkeypatch.setattr(Cancellation, "request", request_and_wait)
    holder.start(job)
    assert begun.wait(LONG)
    holder.executor.abandon()
    assert isinstance(holder.end(), Loss)


def test_an_abandoned_run_is_interrupted_without_charge(holder: Holder) -> None:
    begun, seen = threading.Event(), []

    def job() -> None:
        begun.set()
        try:
            spin()
        except RunInterrupted as error:
            seen.append(type(error).__name__)
            raise

    holder.start(job)
    assert begun.wait(LONG)
    holder.executor.abandon()
    ending = holder.end()
    assert isinstance(ending, Loss)
    assert (ending.charged, ending.reason) == (
        False,
        "The worker was stopped before the run finished.",
    )
    holder.wait(lambda: not holder.executor.leaves_code_running)
    assert seen == ["WorkerStopping"]
    assert holder.endings == {}


def test_messages_wait_until_they_are_collected(holder: Holder) -> None:
    said, go = threading.Event(), threading.Event()

    def job(context: TaskContext) -> None:
        context.progress(1, 2)
        context.record(processed=3)
        said.set()
        assert go.wait(LONG)

    assert holder.executor.messages_due == NEVER
    holder.start(job)
    assert said.wait(LONG)
    assert time.monotonic() < holder.executor.messages_due < time.monotonic() + 1
    holder.collect()
    assert holder.said == {1: [Progress(done=1, total=2), Counts(processed=3)]}
    assert holder.executor.messages_due == NEVER
    go.set()
    holder.outcome()


def test_a_checkpoint_waits_for_the_worker(holder: Holder) -> None:
    steps: list[str] = []

    def job(context: TaskContext) -> None:
        context.checkpoint = 1
        steps.append("written")

    holder.start(job)
    assert holder.stirred.wait(LONG)
    assert steps == []
    assert holder.outcome().status == "success"
    assert steps == ["written"]
    assert holder.said == {1: [Checkpoint(value=1)]}


def test_a_refused_message_interrupts_the_handler(holder: Holder) -> None:
    def job(context: TaskContext) -> None:
        context.progress(1)
        spin()

    holder.accepts = lambda sent: False
    holder.start(job)
    outcome = holder.outcome()
    assert (outcome.error_category, outcome.error) == (
        "lost",
        "This worker no longer holds the execution.",
    )


def test_after_a_refused_message_every_other_raises(holder: Holder) -> None:
    raised: list[str] = []

    def job(context: TaskContext) -> None:
        for say in (lambda: setattr(context, "checkpoint", 1), lambda: context.progress(1)):
            try:
                say()
            except LeaseLost:
                raised.append("LeaseLost")

    holder.accepts = lambda sent: False
    holder.start(job)
    holder.end()
    assert raised[0] == "LeaseLost"
    assert len(holder.said[1]) == 1


def test_a_timeout_interrupts_the_wait_for_an_answer(holder: Holder) -> None:
    raised: list[str] = []

    def job(context: TaskContext) -> None:
        try:
            context.checkpoint = 1
        except RunInterrupted as error:
            raised.append(type(error).__name__)
            raise

    holder.start(job, timeout=0.1)
    holder.wait_uncollected(holder.executor._endings)
    assert holder.outcome().error == "Timed out after 0.1 s."
    assert raised == ["TimeLimitExceeded"]


def test_a_talkative_run_waits_for_the_worker(
    holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "MAX_UNWRITTEN_MESSAGES", 10)

    def job(context: TaskContext) -> None:
        for number in range(35):
            context.logger.info("%s", number)

    holder.start(job)
    wait_until(lambda: holder.executor.backlogged, within=LONG)
    for _ in range(20):
        assert holder.executor._messages.qsize() <= 10
        time.sleep(0.01)
    assert holder.outcome().status == "success"
    lines = [said.message for said in holder.said[1] if isinstance(said, LogLine)]
    assert lines == [str(number) for number in range(35)]
