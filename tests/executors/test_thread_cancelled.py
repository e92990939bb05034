"""Runs in threads that are cancelled: asked, and in hand until they return."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from scheduled_tasks import TaskContext
from scheduled_tasks.exceptions import RunInterrupted, TimeLimitExceeded
from scheduled_tasks.messages import Note
from scheduled_tasks.runs import Loss, Outcome
from tests.executors.threads_in_hand import LONG, Holder, spin

WHY = "No longer wanted."


def is_cancelled(outcome: Outcome) -> bool:
    """Say whether a run was cancelled for the test's reason, and is no failure."""
    fields = (outcome.status, outcome.reason, outcome.error_category, outcome.error_fingerprint)
    assert fields == ("cancelled", WHY, "", "")
    return True


def test_a_handler_that_sleeps_now_and_then_is_interrupted_and_its_neighbour_goes_on(
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
    holder.executor.cancel(2, 1, WHY)
    outcome = holder.outcome()
    assert is_cancelled(outcome)
    assert (outcome.execution_id, outcome.error) == (2, "")
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
    holder.executor.cancel(1, 1, WHY)
    outcome = holder.outcome()
    assert is_cancelled(outcome)
    assert outcome.error == ""
    assert cleaned == [1]


def test_what_it_raises_while_it_cleans_up_is_kept(holder: Holder) -> None:
    begun = threading.Event()

    def job() -> None:
        try:
            begun.set()
            spin()
        finally:
            raise ConnectionError("while cleaning up")

    holder.start(job)
    assert begun.wait(LONG)
    holder.executor.cancel(1, 1, WHY)
    outcome = holder.outcome()
    assert is_cancelled(outcome)
    assert outcome.error == "ConnectionError: while cleaning up"


def test_a_handler_that_goes_on_stays_in_hand_and_what_it_returns_counts(holder: Holder) -> None:
    raised: list[str] = []
    begun, caught, go = threading.Event(), threading.Event(), threading.Event()

    def job(context: TaskContext) -> str:
        while not go.is_set():
            try:
                begun.set()
                spin(go)
            except RunInterrupted as error:
                raised.append(type(error).__name__)
                caught.set()
        return f"cancelled={context.cancelled}"

    holder.start(job)
    assert begun.wait(LONG)
    for _ in range(3):
        holder.executor.cancel(1, 1, WHY)
        assert caught.wait(LONG)
        time.sleep(0.05)
        holder.collect()
    assert list(holder.executor.in_hand) == [1]
    assert holder.executor.stuck == frozenset()
    assert raised == ["RunCancelled"], "asked once, however often"
    go.set()
    outcome = holder.outcome()
    assert (outcome.status, outcome.result, outcome.reason) == ("success", "cancelled=True", "")


def test_a_run_or_an_attempt_that_is_not_in_hand_changes_nothing(holder: Holder) -> None:
    go = threading.Event()

    def job() -> str:
        assert go.wait(LONG)
        return "done"

    holder.start(job)
    holder.executor.cancel(1, 2, WHY)
    holder.executor.cancel(2, 1, WHY)
    go.set()
    assert holder.outcome().result == "done"
    holder.executor.cancel(1, 1, WHY)
    assert holder.executor.finished() == []


def test_a_run_that_is_cancelled_at_once_ends_as_cancelled(holder: Holder) -> None:
    def job() -> None:
        spin()

    holder.start(job)
    holder.executor.cancel(1, 1, WHY)
    assert is_cancelled(holder.outcome())


def test_it_interrupts_the_wait_for_the_workers_answer(holder: Holder) -> None:
    def job(context: TaskContext) -> None:
        context.checkpoint = 1

    holder.start(job)
    assert holder.stirred.wait(LONG)
    holder.executor.cancel(1, 1, WHY)
    while not holder.executor._endings.qsize():
        assert holder.stirred.wait(LONG)
        holder.stirred.clear()
    outcome = holder.outcome()
    assert is_cancelled(outcome)
    assert outcome.error == ""


def test_what_has_reached_its_timeout_has_failed_and_is_not_asked_again(holder: Holder) -> None:
    raised: list[type[BaseException]] = []
    caught, go = threading.Event(), threading.Event()

    def job() -> None:
        while not go.is_set():
            try:
                spin(go)
            except RunInterrupted as error:
                raised.append(type(error))
                caught.set()

    holder.start(job, timeout=0.1)
    assert caught.wait(LONG)
    holder.executor.cancel(1, 1, WHY)
    time.sleep(0.1)
    go.set()
    outcome = holder.outcome()
    assert (outcome.status, outcome.error_category, outcome.reason) == ("failed", "timeout", "")
    assert raised == [TimeLimitExceeded]


def test_one_that_goes_on_beyond_its_timeout_too_is_asked_again_and_stuck_as_ever(
    holder: Holder, settings: Any
) -> None:
    settings.SCHEDULED_TASKS = {"KILL_GRACE": 0.2}
    raised: list[str] = []
    begun, go = threading.Event(), threading.Event()

    def job() -> None:
        while not go.is_set():
            try:
                begun.set()
                spin(go)
            except RunInterrupted as error:
                raised.append(type(error).__name__)

    holder.start(job, timeout=1)
    assert begun.wait(LONG)
    holder.executor.cancel(1, 1, WHY)
    holder.wait(lambda: holder.executor.stuck)
    holder.executor.abandon()
    assert is_cancelled(holder.outcome())
    go.set()
    holder.wait(lambda: not holder.executor.leaves_code_running)
    assert raised == ["RunCancelled", "RunCancelled"]
    assert [sent.message for sent in holder.said] == [
        Note(text="It reached its timeout of 1 s. It is still running.")
    ]


def test_a_cancelled_run_whose_worker_stops_is_not_given_back(holder: Holder) -> None:
    begun, go = threading.Event(), threading.Event()

    def job() -> None:
        while not go.is_set():
            try:
                begun.set()
                spin(go)
            except RunInterrupted:
                continue

    holder.start(job)
    assert begun.wait(LONG)
    holder.executor.cancel(1, 1, WHY)
    holder.executor.abandon()
    assert is_cancelled(holder.outcome())
    assert holder.executor.leaves_code_running
    go.set()
    holder.wait(lambda: not holder.executor.leaves_code_running)
    assert holder.endings == []


def test_an_abandoned_run_is_given_back_though_it_is_cancelled_then(holder: Holder) -> None:
    begun = threading.Event()

    def job() -> None:
        begun.set()
        spin()

    holder.start(job)
    assert begun.wait(LONG)
    holder.executor.abandon()
    holder.executor.cancel(1, 1, WHY)
    assert isinstance(holder.end(), Loss)
