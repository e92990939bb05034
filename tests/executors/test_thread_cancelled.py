"""Runs in threads that are cancelled: asked, and in hand until they return."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from scheduled_tasks import TaskContext
from scheduled_tasks.exceptions import RunCancelled, TimeLimitExceeded
from scheduled_tasks.runtime.messages import ExecutorNote
from scheduled_tasks.runtime.runs import Loss
from tests.executors.in_hand import is_cancelled
from tests.executors.threads_in_hand import Holder, Stubborn, spin
from tests.support.processes import LONG


def test_an_interrupted_handler_cleans_up_beside_its_neighbour(
    holder: Holder,
) -> None:
    begun, go, cleaned = threading.Event(), threading.Event(), []

    def job(context: TaskContext) -> None:
        try:
            begun.set()
            while True:
                time.sleep(0.01)
        finally:
            cleaned.append(context.cancelled)

    def neighbour() -> str:
        assert go.wait(LONG)
        return "undisturbed"

    holder.start(neighbour, 1)
    holder.start(job, 2)
    assert begun.wait(LONG)
    holder.cancel(2)
    outcome = holder.outcome()
    assert is_cancelled(outcome)
    assert outcome.execution_id == 2
    assert "in job" in outcome.traceback
    assert cleaned == [True]
    go.set()
    assert holder.outcome().result == "undisturbed"


def test_an_async_handler_is_cancelled_where_it_awaits(holder: Holder) -> None:
    begun, cleaned = threading.Event(), []

    async def job() -> None:
        try:
            begun.set()
            await asyncio.sleep(LONG)
        finally:
            cleaned.append(1)

    holder.start(job)
    assert begun.wait(LONG)
    holder.cancel()
    outcome = holder.outcome()
    assert is_cancelled(outcome)
    assert cleaned == [1]


def test_an_error_raised_while_cleaning_up_is_kept(holder: Holder) -> None:
    begun = threading.Event()

    def job() -> None:
        try:
            begun.set()
            spin()
        finally:
            raise ConnectionError("while cleaning up")

    holder.start(job)
    assert begun.wait(LONG)
    holder.cancel()
    outcome = holder.outcome()
    assert is_cancelled(outcome, error="ConnectionError: while cleaning up")


def test_the_result_of_a_stubborn_cancelled_run_counts(holder: Holder) -> None:
    stubborn = Stubborn()
    holder.start(stubborn.job)
    assert stubborn.begun.wait(LONG)
    for _ in range(3):
        holder.cancel()
        holder.wait(lambda: stubborn.raised)
        time.sleep(0.05)
        holder.collect()
    assert list(holder.executor.in_hand) == [1]
    assert holder.executor.stuck == frozenset()
    assert stubborn.raised == [RunCancelled], "asked once, however often"
    stubborn.go.set()
    outcome = holder.outcome()
    assert (outcome.status, outcome.reason) == ("success", "")
    assert outcome.result == "at last, cancelled=True"


def test_cancelling_what_is_not_in_hand_changes_nothing(holder: Holder) -> None:
    go = threading.Event()

    def job() -> str:
        assert go.wait(LONG)
        return "done"

    holder.start(job)
    holder.cancel(attempt=2)
    holder.cancel(2)
    go.set()
    assert holder.outcome().result == "done"
    holder.cancel()
    assert holder.executor.finished() == []


def test_a_run_cancelled_at_once_ends_as_cancelled(holder: Holder) -> None:
    def job() -> None:
        spin()

    holder.start(job)
    holder.cancel()
    assert is_cancelled(holder.outcome())


def test_it_interrupts_the_wait_for_the_workers_answer(holder: Holder) -> None:
    def job(context: TaskContext) -> None:
        context.checkpoint = 1

    holder.start(job)
    holder.wait_uncollected(holder.executor._messages)
    holder.cancel()
    holder.wait_uncollected(holder.executor._endings)
    assert is_cancelled(holder.outcome())


def test_a_timed_out_run_is_not_asked_again(holder: Holder) -> None:
    stubborn = Stubborn()
    holder.start(stubborn.job, timeout=0.1)
    holder.wait(lambda: stubborn.raised)
    holder.cancel()
    time.sleep(0.1)
    stubborn.go.set()
    outcome = holder.outcome()
    assert (outcome.status, outcome.error_category, outcome.reason) == ("failed", "timeout", "")
    assert stubborn.raised == [TimeLimitExceeded]


def test_a_cancelled_run_beyond_its_timeout_is_stuck(holder: Holder, settings: Any) -> None:
    settings.SCHEDULED_TASKS = {"KILL_GRACE": 0.2}
    stubborn = Stubborn()
    holder.start(stubborn.job, timeout=1)
    assert stubborn.begun.wait(LONG)
    holder.cancel()
    holder.wait(lambda: holder.executor.stuck)
    holder.executor.abandon()
    assert is_cancelled(holder.outcome())
    stubborn.go.set()
    holder.wait(lambda: not holder.executor.leaves_code_running)
    assert stubborn.raised == [RunCancelled, RunCancelled]
    note = ExecutorNote(text="Timed out after 1 s. Still running.")
    assert holder.said == {1: [note]}


def test_stopping_the_worker_leaves_a_cancelled_run_cancelled(holder: Holder) -> None:
    stubborn = Stubborn()
    holder.start(stubborn.job)
    assert stubborn.begun.wait(LONG)
    holder.cancel()
    holder.executor.abandon()
    assert is_cancelled(holder.outcome())
    assert holder.executor.leaves_code_running
    stubborn.go.set()
    holder.wait(lambda: not holder.executor.leaves_code_running)
    assert holder.endings == {}


def test_an_abandoned_run_cancelled_afterwards_is_given_back(holder: Holder) -> None:
    begun = threading.Event()

    def job() -> None:
        begun.set()
        spin()

    holder.start(job)
    assert begun.wait(LONG)
    holder.executor.abandon()
    holder.cancel()
    assert isinstance(holder.end(), Loss)
