"""The checker, where people did not get what they asked for, or what nobody asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.checker import violations
from tests.chaos.histories import (
    THREE_RUNS,
    at,
    history,
    returned,
    row,
    slot,
    task,
    with_first,
)
from tests.chaos.history import History
from tests.chaos.people import Deed

BY_HAND = replace(row(9), slot=None, trigger="manual")


def deed(what: str, execution: int = 0, *, begun: float = 9, **more: Any) -> Deed:
    """Return what somebody asked for, and was told after a tenth of a second that it is done."""
    fields = {"begun": at(begun), "ended": at(begun + 0.1), "confirmed": True, **more}
    return Deed(what=what, execution=execution, **fields)


def beside(other: Any, *deeds: Deed, **changed: Any) -> History:
    """Return the right history with one more row, and what people asked for."""
    journal = [*history().journal, *returned(other.id)]
    return history(rows=[*history().rows, other], journal=journal, deeds=deeds, **changed)


def test_what_was_asked_for_may_be() -> None:
    run_now, requeue = deed("run_now", 9), deed("requeue", 9)
    assert violations(beside(BY_HAND, run_now, requeue, counts={"t": 2})) == []


def test_what_somebody_cancelled_may_be_cancelled() -> None:
    cancelled = row(1, "cancelled", attempt=2, losses=1, cancel_asked=True)
    assert violations(with_first(cancelled, deeds=[deed("cancel", 1, begun=12)])) == []


def test_an_unconfirmed_cancel_may_have_worked() -> None:
    cancelled = row(1, "cancelled", attempt=2, losses=1, cancel_asked=True)
    assert violations(with_first(cancelled, deeds=[deed("cancel", 1, confirmed=False)])) == []


def test_a_pause_may_cover_otherwise_required_slots() -> None:
    tasks = {"t": task(overlap="allow", misfire="all")}
    pause = deed("pause", begun=9.5, seconds=12)
    assert violations(history(tasks=tasks, deeds=[pause])) == []


def test_a_pause_may_miss_a_slot_being_decided() -> None:
    deeds = [deed("pause", begun=9.88, seconds=1), deed("pause", begun=19, seconds=1, ended=at(21))]
    assert violations(history(**THREE_RUNS, journal=returned(1, 2, 3), deeds=deeds)) == []


def test_a_pause_ends_where_another_takes_its_place() -> None:
    deeds = [deed("pause", begun=9, seconds=12), deed("pause", begun=11, seconds=1)]
    skipped = row(2, "skipped", reason="All tasks paused.")
    changed = {"rows": [row(1), skipped, row(3)], "counts": {"t": 2}, "tried": []}
    assert violations(history(**changed, journal=returned(1, 3), deeds=deeds)) == []


WRONG: dict[str, tuple[History, str]] = {
    "a run by hand that gives way to a slot": (
        beside(replace(BY_HAND, status="cancelled"), tasks={"t": task(overlap="cancel_other")}),
        "t: #9 was cancelled, and nobody wanted it",
    ),
    "a run that somebody else is asked to end": (
        with_first(row(1, attempt=2, losses=1, cancel_asked=True), deeds=[deed("cancel", 2)]),
        "t: #1 was cancelled, and nobody wanted it",
    ),
    "a run by hand that is forgotten": (
        history(deeds=[deed("run_now", 77)]),
        "#77 was asked for by run_now, and is not there",
    ),
    "a run by hand that is skipped": (
        beside(replace(BY_HAND, status="skipped", attempt=0), deed("requeue", 9)),
        "t: #9 was asked for, and is skipped without a try",
    ),
    "a cancelled run that is queued again": (
        history(deeds=[deed("cancel", 1)]),
        "#1 was cancelled, and queued again after attempt 1",
    ),
    "a slot that runs in a pause": (
        history(**THREE_RUNS, deeds=[deed("pause", begun=9, seconds=2)]),
        "t: #2, success, is for a slot inside a pause",
    ),
    "a slot left out beside a pause": (
        history(
            tasks={"t": task(overlap="allow", misfire="all")},
            deeds=[deed("pause", begun=9.5, seconds=2)],
        ),
        f"t: #2 leaves out {slot(1)}, which had to run",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_people_did_not_want_is_caught(name: str) -> None:
    wrong, said = WRONG[name]
    assert said in violations(wrong)
