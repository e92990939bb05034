"""The checker itself: it lets pass what is right, and notices each way of being wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.checker import violations
from tests.chaos.histories import (
    NOON,
    SECOND,
    THREE_RUNS,
    at,
    healthy,
    history,
    line,
    returned,
    row,
    task,
    tried,
    with_first,
)
from tests.chaos.history import Harm, History, Row
from tests.chaos.journal import BEGUN, ENDED, STARTED


def test_right_histories_pass() -> None:
    assert violations(history()) == []
    assert violations(history(**THREE_RUNS, journal=returned(1, 2, 3))) == []


def test_by_hand_needs_no_slot() -> None:
    by_hand = replace(row(9), slot=None, trigger="manual")
    rows, journal = [*history().rows, by_hand], [*history().journal, *returned(9)]
    assert violations(history(rows=rows, journal=journal, counts={"t": 2})) == []


WRONG: dict[str, tuple[History, str]] = {
    "a slot without a row": (
        history(rows=history().rows[:1]),
        "t: slot 2026-03-01 12:00:10+00:00 is accounted for 0 times",
    ),
    "a slot that ran and is covered": (
        history(rows=[*history().rows, row(3, "skipped", reason="Why not.")]),
        "t: slot 2026-03-01 12:00:20+00:00 is accounted for 2 times",
    ),
    "a slot that ran twice": (
        history(**THREE_RUNS | {"rows": [row(1), row(2), row(3), replace(row(3), id=4)]}),
        "t: slot 2026-03-01 12:00:20+00:00 is accounted for 2 times",
    ),
    "a slot that never came": (
        with_first(row(1, slot=NOON + SECOND)),
        f"t: #1 is for slots that do not exist, {NOON + SECOND} to {NOON + SECOND}",
    ),
    "a wrong number of covered slots": (
        history(rows=[history().rows[0], replace(history().rows[1], slots=3)]),
        "t: #2 says 3 slots, and stands for 2",
    ),
    "a covered slot without a reason": (
        history(rows=[history().rows[0], replace(history().rows[1], reason="")]),
        "t: #2 does not say why its slots have not run",
    ),
    "a slot left out that had to run": (
        history(tasks={"t": task(overlap="allow", misfire="all")}),
        "t: #2 leaves out 2026-03-01 12:00:10+00:00, which had to run",
    ),
    "a begun run that is called skipped": (
        history(
            **THREE_RUNS | {"rows": [row(1), row(2, "skipped", reason="Why not."), row(3)]},
            journal=returned(1, 2, 3),
        ),
        "t: #2 is called skipped, and was tried",
    ),
    "a claimed run that is called missed": (
        history(**THREE_RUNS | {"rows": [row(1), row(2, "missed", attempt=1), row(3)]}),
        "t: #2 is called missed, and was tried",
    ),
    "an execution that waits": (with_first(row(1, "queued")), "t: #1 is still queued"),
    "an execution that runs": (with_first(row(1, "running")), "t: #1 is still running"),
    "an end that keeps others from running": (
        with_first(replace(history().rows[0], exclusive=7)),
        "t: #1, success, keeps others from running",
    ),
    "a dead worker that nobody noticed": (
        history(states={"a1": "stopped", "b1": "running"}),
        "worker b1 is still running on record",
    ),
    "a worker that does not end": (
        history(lives=healthy("b1", Harm("stopped", at(5)), exit_code=None)),
        "worker b1 has not ended",
    ),
    "a process left behind": (history(left=["12 run-1"]), "process 12 run-1 was left behind"),
    "an attempt begun twice": (
        history(journal=[*history().journal, line(BEGUN, 1, worker="c1")]),
        "#1: attempt 1 was begun 2 times",
    ),
    "a run that nobody claimed": (
        history(journal=[*history().journal, line(BEGUN, 1, attempt=3, value=3)]),
        "#1: attempt 3 was begun by a1 without a claim",
    ),
    "a run on a worker that has not claimed it": (
        history(journal=[line(BEGUN, 1, worker="a1"), *history().journal[1:]]),
        "#1: attempt 1 was begun by a1 without a claim",
    ),
    "a run of no execution": (
        history(journal=[*history().journal, line(BEGUN, 77)]),
        "#77: attempt 1 was begun by a1 without a claim",
    ),
    "a repetition of what must not be repeated": (
        history(tasks={"t": task(on_lost="fail")}),
        "#1 must not be repeated, and was begun 2 times",
    ),
    "a queueing of what must not be repeated": (
        history(tasks={"t": task(on_lost="fail")}, journal=history().journal[2:]),
        "#1 must not be repeated, was lost, and queued again",
    ),
    "a failure with a retry left": (
        with_first(row(1, "failed", failures=1, category="logic"), tried=[]),
        "t: #1 is given up after 1 failures",
    ),
    "too many failures": (
        with_first(row(1, "failed", attempt=3, failures=3)),
        "t: #1 has failed 3 times",
    ),
    "too many losses": (
        with_first(row(1, "failed", attempt=5, losses=5)),
        "t: #1 was lost 5 times",
    ),
    "a cancelled run that nobody wanted to cancel": (
        with_first(row(1, "cancelled")),
        "t: #1 was cancelled, and nobody wanted it",
    ),
    "two processes at once": (
        history(
            journal=[
                *history().journal[:2],
                line(BEGUN, 1, attempt=2, value=3, beside="b1"),
                *history().journal[3:],
            ]
        ),
        "t: #1 attempt 2 of a1 has begun beside one of b1",
    ),
    "a process that outlives its run": (
        history(journal=[*history().journal, line(STARTED, 1, attempt=2, beside="b1")]),
        "t: #1 attempt 2 of a1 has started beside one of b1",
    ),
    "two threads at once of healthy workers": (
        history(
            **THREE_RUNS,
            tasks={"t": task(executor="thread")},
            journal=[*returned(1, 3), *returned(2)[1:], line(BEGUN, 2, beside="a1")],
        ),
        "t: #2 attempt 1 of a1 has begun beside one of a1",
    ),
    "two threads at once, before the worker of one was stopped": (
        history(
            **THREE_RUNS,
            tasks={"t": task(executor="thread")},
            journal=[*returned(1, 3), *returned(2)[1:], line(BEGUN, 2, at=at(5), beside="a1")],
            lives=healthy("a1", Harm("stopped", at(100))),
        ),
        "t: #2 attempt 1 of a1 has begun beside one of a1",
    ),
    "an attempt that is not on record": (
        history(tried=[]),
        "t: #1, of 2 attempts, has [] on record",
    ),
    "attempts out of step": (
        history(tried=[tried(1, 2, "lost", worker="b1")]),
        "t: #1, of 2 attempts, has [2] on record",
    ),
    "a failure that was not counted": (
        history(tried=[tried(1, 1, "failed")]),
        "t: #1 counts 0 times failed",
    ),
    "losses that never count": (
        with_first(
            row(1, attempt=5), tried=[tried(1, each, "lost", worker="b1") for each in range(1, 5)]
        ),
        "t: #1 counts 0 of 4 losses",
    ),
    "a success without an end": (
        history(journal=history().journal[:3]),
        "t: #1 is called a success, and has not returned",
    ),
    "a success of what has raised": (
        history(journal=[*history().journal[:3], line(ENDED, 1, attempt=2, value="ValueError")]),
        "t: #1 is called a success, and has not returned",
    ),
    "a failure of what has returned": (
        with_first(row(1, "failed", attempt=2, losses=1, failures=2, category="logic")),
        "t: #1 attempt 2 has returned, and is called failed, logic",
    ),
    "a crash of what has returned in a thread": (
        with_first(
            row(1, "failed", attempt=2, losses=1, failures=2, category="crash"),
            tasks={"t": task(executor="thread")},
        ),
        "t: #1 attempt 2 has returned, and is called failed, crash",
    ),
    "a timeout of what has returned and has none": (
        with_first(row(1, "failed", attempt=2, losses=1, failures=2, category="timeout")),
        "t: #1 attempt 2 has returned, and is called failed, timeout",
    ),
    "another attempt of what has returned": (
        history(
            rows=[replace(history().rows[0], failures=1, losses=0), *history().rows[1:]],
            tried=[tried(1, 1, "postponed", category="logic")],
            journal=[*returned(1), *history().journal[2:]],
        ),
        "t: #1 attempt 1 has returned, and is called failed, logic",
    ),
    "a checkpoint that is gone": (
        history(journal=[*history().journal[:2], *returned(1), line(BEGUN, 1, attempt=2)]),
        "t: #1 kept step 3, and found None",
    ),
    "a checkpoint that is too old": (
        history(journal=[*history().journal[:2], line(BEGUN, 1, attempt=2, value=2)]),
        "t: #1 kept step 3, and found 2",
    ),
    "a run counted twice": (history(counts={"t": 2}), "t: 1 have ended, it counts 2"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_histories_are_caught(name: str) -> None:
    wrong, said = WRONG[name]
    assert said in violations(wrong)


FAILED = row(1, "failed", failures=1, category="logic")


@pytest.mark.parametrize(
    ("failed", "policies"),
    [
        (replace(FAILED, failures=2), {}),
        (replace(FAILED, category="permanent"), {}),
        (replace(FAILED, cancel_asked=True), {}),
        (replace(FAILED, failures=0, losses=4, category="lost"), {}),
        (replace(FAILED, failures=0, losses=1, category="lost"), {"on_lost": "fail"}),
    ],
)
def test_what_has_spent_its_budget_may_fail(failed: Row, policies: dict[str, Any]) -> None:
    found = violations(with_first(failed, tasks={"t": task(**policies)}))
    assert not [said for said in found if "given up after" in said]


@pytest.mark.parametrize("category", ["lost", "crash", "memory", "timeout"])
def test_what_has_returned_may_still_be_killed(category: str) -> None:
    failed = row(1, "failed", attempt=2, losses=1, failures=2, category=category)
    found = violations(with_first(failed, tasks={"t": task(timeout=1)}))
    assert not [said for said in found if "has returned" in said]


@pytest.mark.parametrize("harm", ["killed", "stopped", "frozen", "cut off"])
def test_a_thread_cannot_be_killed(harm: str) -> None:
    lives = healthy("b1", Harm(harm, at(5), 8.0))
    journal = [
        *history().journal[:2],
        line(BEGUN, 1, attempt=2, value=3, beside="b1"),
        *history().journal[3:],
    ]
    thread = {"t": task(executor="thread")}
    assert violations(history(tasks=thread, journal=journal, lives=lives)) == []


def test_what_waits_for_another_attempt_may_be_cancelled() -> None:
    cancelled = row(1, "cancelled", losses=1)
    tasks, journal = {"t": task(overlap="cancel_other")}, history().journal[:2]
    changed = {"tasks": tasks, "journal": journal, "counts": {"t": 0}}
    assert violations(with_first(cancelled, **changed)) == []
