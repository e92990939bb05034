"""What is put on record of a run, from what the fork server says of its process."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection

from scheduled_tasks.executors.base import Executor
from scheduled_tasks.executors.process.executor import address_of
from scheduled_tasks.executors.process.exit_reports import ending_of
from scheduled_tasks.executors.process.wire import outcome_body
from scheduled_tasks.runtime.runs import Ending, Loss, Outcome, Run
from tests.executors.runs import NOW, run_of

TRIED = "The run did not begin in 3 tries."
UNBEGUN = {"stopped": "unbegun", "tries": 3, "overdue": 0, "signal": 9}
RUN = replace(run_of(1), timeout=5, memory_limit_mb=20)
SUCCESS = Outcome(
    execution_id=1, attempt=1, status="success", started_at=NOW, finished_at=NOW, duration_ms=3
)


def ending(outcome: Outcome | None = None, **facts: Any) -> Ending:
    frame = {
        "body": outcome_body(outcome) if outcome else b"",
        "stopped": "",
        "peak_mb": 7,
        "code": 0,
        "signal": 0,
        "out_of_memory": False,
        **facts,
    }
    return ending_of(RUN, frame, NOW, NOW)


def test_what_the_run_itself_says_is_believed() -> None:
    assert ending(SUCCESS) == replace(SUCCESS, peak_memory_mb=7)
    assert ending(SUCCESS, stopped="abandoned") == replace(SUCCESS, peak_memory_mb=7)


def test_a_stopped_run_is_lost_unless_it_succeeded() -> None:
    failed = replace(SUCCESS, status="failed")
    for said in (None, failed):
        stopped = ending(said, stopped="abandoned")
        assert isinstance(stopped, Loss)
        assert not stopped.charged
    cut_off = ending(stopped="lease", signal=signal.SIGKILL)
    assert isinstance(cut_off, Loss)
    assert cut_off.charged


def test_a_cancelled_run_is_no_failure_unless_finished() -> None:
    why = {"stopped": "cancelled", "reason": "No longer wanted."}
    assert ending(SUCCESS, **why) == replace(SUCCESS, peak_memory_mb=7)
    failed = replace(SUCCESS, status="failed", error_category="logic", error="KeyError: 1")
    cancelled = replace(failed, status="cancelled", error_category="", reason="No longer wanted.")
    assert ending(failed, **why) == replace(cancelled, peak_memory_mb=7)
    stopped = replace(SUCCESS, status="cancelled", reason="The run was cancelled.", traceback="x")
    assert ending(stopped, **why) == replace(stopped, reason="No longer wanted.", peak_memory_mb=7)
    killed = ending(**why, signal=signal.SIGKILL, trace="in job")
    assert killed == replace(
        SUCCESS,
        status="cancelled",
        reason="No longer wanted.",
        traceback="in job",
        peak_memory_mb=7,
        duration_ms=0,
    )


@pytest.mark.parametrize(
    ("facts", "category", "error"),
    [
        ({"signal": signal.SIGSEGV}, "crash", "Process crashed (SIGSEGV)."),
        ({"code": 3}, "crash", "Process exited with code 3 before the run ended."),
        ({"signal": 63}, "crash", "Process crashed (signal 63)."),
        ({"signal": 9, "out_of_memory": True}, "memory", "Killed by the kernel"),
        ({"signal": 9, "stopped": "memory"}, "memory", "Exceeded the 20"),
        (
            {"signal": 9, "stopped": "timeout"},
            "timeout",
            "Timed out after 5 s and did not stop within 10 s",
        ),
        (UNBEGUN, "crash", f"{TRIED} Process was killed (SIGKILL)."),
        ({**UNBEGUN, "overdue": 120}, "crash", f"{TRIED} Process was killed after 2 minutes."),
        ({**UNBEGUN, "out_of_memory": True}, "memory", f"{TRIED} Killed by the kernel"),
        ({"code": 1, "stopped": "timeout"}, "timeout", "Timed out after 5 s. Process exited"),
    ],
)
def test_a_process_that_ended_without_a_word(
    facts: dict[str, Any], category: str, error: str
) -> None:
    said = ending(**facts)
    assert isinstance(said, Outcome)
    assert (said.status, said.error_category) == ("failed", category)
    assert error in said.error


@pytest.mark.parametrize(
    "forged",
    [
        {"status": "queued"},
        {"retryable": "no"},
        {"retry_after": -1},
        {"retry_after": float("nan")},
        {"retry_after": 1e12},
        {"retry_after": "soon"},
        {"status": None},
        {"duration_ms": "x"},
        {"started_at": NOW.replace(tzinfo=None)},
        {"finished_at": None},
        {"error": 5},
        {"traceback": None},
        {"error_category": "x" * 21},
        {"error_fingerprint": "x" * 33},
        {"complete": 1},
    ],
    ids=str,
)
def test_an_impossible_outcome_is_a_crash(forged: dict[str, Any]) -> None:
    executor = OneEnding(replace(SUCCESS, **forged))
    said = executor.finished()[0]
    assert isinstance(said, Outcome)
    assert (said.status, said.error_category) == ("failed", "crash")
    assert said.error.startswith(("The run reported an invalid end: ", "The run broke its conn"))
    assert next(iter(forged)) in said.error or "it is no outcome" in said.error


class OneEnding(Executor):
    """An executor whose one run has sent an outcome."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(concurrency=1, clock=lambda: NOW)
        self.outcome = outcome
        self.submit(RUN)

    def begin(self, run: Run) -> None:
        self.deliver(ending(self.outcome))


@pytest.mark.parametrize("outcome", [[], "x", 5, {"nothing": 1}, {"execution_id": 1}])
def test_an_outcome_that_is_none_is_a_crash(outcome: Any) -> None:
    frame = {"body": json.dumps(outcome).encode(), "stopped": "", "code": 0, "signal": 0}
    said = ending_of(RUN, frame, NOW, NOW)
    assert isinstance(said, Outcome)
    assert said.error_category == "crash"
    assert "an invalid end" in said.error


def test_missing_parts_of_a_database_address_stay_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(connection.settings_dict, "PORT", None)
    monkeypatch.setitem(connection.settings_dict, "HOST", "")
    assert (address_of("default")["PORT"], address_of("default")["HOST"]) == (None, "")
