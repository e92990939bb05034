"""The checker, where people were not told what they have to know, or what is not so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.checker import violations
from tests.chaos.histories import SECOND, at, healthy, history, row, slot, task
from tests.chaos.history import Alarm, Due, Harm, History, Outage
from tests.chaos.messages import Message

FAILED = row(1, "failed", attempt=2, losses=1, failures=1, category="crash")
RAISED, CLEARED = "raised", "cleared"


def alarm(condition: str = "failed", **fields: Any) -> Alarm:
    """Return the alert of the failure of the first slot, which is not cleared."""
    common = {"id": condition, "task": "t", "execution": 1, "raised_at": slot(1)}
    return Alarm(condition=condition, **{**common, **fields})


def message(alert: str, event: str = RAISED, **fields: Any) -> Message:
    return Message(alert=alert, event=event, **{"worker": "a1", "at": at(10), **fields})


ALARMS = [alarm(), alarm("dead_letter")]


def told(*alarms: Alarm, **changed: Any) -> History:
    """Return a history in which the first slot's execution failed, and these alerts were told."""
    alarms = alarms or tuple(ALARMS)
    events = [(each.id, event) for each in alarms for event in events_of(each)]
    right = {
        "tasks": {"t": task(max_retries=0)},
        "rows": [FAILED, history().rows[1]],
        "failing": {"t": 1},
        "alarms": alarms,
        "outbox": [Due(alert=pk, event=event, delivered=True) for pk, event in events],
        "messages": [message(pk, event) for pk, event in events],
    }
    return history(**right | changed)


def events_of(each: Alarm) -> list[str]:
    return [RAISED, CLEARED] if each.cleared_at else [RAISED]


def and_also(*alarms: Alarm, **changed: Any) -> History:
    return told(*ALARMS, *alarms, **changed)


OVER = replace(ALARMS[1], cleared_at=slot(2))
MISSED = alarm("missed", slot=slot(1), execution=None)
LOST = alarm("worker_lost", task="", subject="b1", execution=None, cleared_at=slot(2))
TWICE = [message("failed"), message("failed"), message("dead_letter")]
LATE = [replace(history().rows[1], finished_at=slot(1) + 5 * SECOND)]


def test_what_was_told_rightly_passes() -> None:
    assert violations(told()) == []
    assert violations(told(ALARMS[0], OVER)) == []
    assert violations(and_also(LOST)) == []
    assert violations(and_also(MISSED, rows=[FAILED, *LATE])) == []


@pytest.mark.parametrize("harm", ["killed", "stopped", "frozen", "cut off"])
def test_harmed_workers_may_repeat_a_message(harm: str) -> None:
    lives = healthy("a1", Harm(harm, at(11), 8.0))
    assert violations(told(messages=TWICE, lives={**history().lives, **lives})) == []


def test_messages_may_be_repeated_around_an_outage() -> None:
    outages = [Outage(slot(1), slot(2))]
    assert violations(told(messages=TWICE, outages=outages)) == []


WRONG: dict[str, tuple[History, str]] = {
    "a failure that raises nothing": (
        told(ALARMS[0]),
        "t: #1 has failed, and raised no alert dead_letter",
    ),
    "a failure after its alert was cleared": (
        told(
            ALARMS[0],
            alarm("dead_letter", execution=2, raised_at=slot(-9), cleared_at=slot(-8)),
        ),
        "t: #1 has failed, and raised no alert dead_letter",
    ),
    "a failure long before its alert": (
        told(ALARMS[0], alarm("dead_letter", execution=2, raised_at=slot(8))),
        "t: #1 has failed, and raised no alert dead_letter",
    ),
    "an alert of what has not failed": (
        and_also(alarm(id="x", execution=2)),
        "alert failed of t: #2 has not failed",
    ),
    "an alert of a slot in time": (
        and_also(MISSED, rows=[FAILED, replace(history().rows[1], finished_at=slot(1))]),
        f"alert missed of t: slot {slot(1)} was not late",
    ),
    "an alert of a slot that never was": (
        and_also(replace(MISSED, slot=slot(7))),
        f"alert missed of t: slot {slot(7)} was not late",
    ),
    "an alert of a worker that is well": (
        and_also(replace(LOST, subject="a1")),
        "alert worker_lost of a1: it was not lost",
    ),
    "an alert of nothing": (
        and_also(alarm("parked")),
        "alert parked of t: nothing explains it",
    ),
    "an alert raised twice": (
        and_also(alarm(id="x", raised_at=slot(2))),
        "alert failed t: it was raised while one was open",
    ),
    "an alert that outlasts the failures": (
        told(failing={"t": 0}),
        "t: its last run has not failed, and its alert is open",
    ),
    "failures without an open alert": (
        told(replace(ALARMS[0], cleared_at=slot(2)), ALARMS[1]),
        "t: it has failed 1 times in a row, and no alert is open",
    ),
    "an alert of a lost worker that stays": (
        and_also(replace(LOST, cleared_at=None)),
        "alert worker_lost b1: it is over, and still open",
    ),
    "an alert that is left out of the outbox": (
        told(outbox=[]),
        "alert failed t: nobody was to be told: raised",
    ),
    "an alert that nobody is told of": (
        told(messages=[]),
        "alert failed t: nobody was told: raised",
    ),
    "an end that nobody is told of": (
        told(ALARMS[0], OVER, messages=TWICE[1:]),
        "alert dead_letter t: nobody was told: cleared",
    ),
    "a message that waits": (
        told(outbox=[Due(alert=each.id, event=RAISED, delivered=False) for each in ALARMS]),
        "alert failed: raised is not on record as sent",
    ),
    "a message of no alert": (
        told(messages=[*told().messages, message("x")]),
        "alert x: raised was told, and is in no outbox",
    ),
    "a message left twice": (
        told(outbox=[*told().outbox, told().outbox[0]]),
        "alert failed: raised was left in the outbox 2 times",
    ),
    "a message told twice": (
        told(messages=TWICE),
        "alert failed: raised was told again, after a1 had told it",
    ),
    "a message told twice, long before its worker was killed": (
        told(messages=TWICE, lives=healthy("a1", Harm("killed", at(100)))),
        "alert failed: raised was told again, after a1 had told it",
    ),
    "an end told before its begin": (
        told(
            ALARMS[0],
            OVER,
            messages=[message("failed"), message("dead_letter", CLEARED), message("dead_letter")],
        ),
        "alert dead_letter: it was told to be over before it was told",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_alerts_are_caught(name: str) -> None:
    wrong, said = WRONG[name]
    assert said in violations(wrong)
