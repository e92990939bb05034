"""Judges whether people got what they asked for, and nothing else was cancelled or left out."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from tests.chaos.history import History, Row
from tests.chaos.people import CANCEL, PAUSE, REQUEUE, RUN_NOW

#: A slot is decided a moment before it comes, so a pause may come too late for it, in seconds.
DECIDED_AHEAD = 0.1


def what_is_cancelled_was_to_be(history: History) -> Iterator[str]:
    """Hold that only what somebody cancelled is, or what a newer slot takes the place of.

    What a person has asked for gives way to no slot.
    """
    wanted = {deed.execution for deed in history.deeds if deed.what == CANCEL}
    for row in history.rows:
        replaced = history.tasks[row.task].overlap == "cancel_other" and row.slot is not None
        if (row.status == "cancelled" or row.cancel_asked) and not (replaced or row.id in wanted):
            yield f"{row.task}: #{row.id} was cancelled, and nobody wanted it"


def what_people_ask_for_is_done(history: History) -> Iterator[str]:
    """Hold that what was confirmed to be queued has been tried, unless it was cancelled."""
    rows = {row.id: row for row in history.rows}
    for deed in history.deeds:
        if deed.confirmed and deed.what in (RUN_NOW, REQUEUE):
            row = rows.get(deed.execution)
            if row is None:
                yield f"#{deed.execution} was asked for by {deed.what}, and is not there"
            elif row.attempt == 0 and row.status != "cancelled":
                yield f"{row.task}: #{row.id} was asked for, and is {row.status} without a try"


def what_was_cancelled_is_not_retried(history: History) -> Iterator[str]:
    """Hold that no attempt is followed by another that ended after somebody had cancelled it."""
    cancelled = {
        deed.execution: deed.ended
        for deed in history.deeds
        if deed.what == CANCEL and deed.confirmed
    }
    for one in history.tried:
        if one.finished_at.timestamp() > cancelled.get(one.execution, inf):
            yield f"#{one.execution} was cancelled, and queued again after attempt {one.number}"


def pauses_are_kept(history: History) -> Iterator[str]:
    """Hold that no slot runs that comes during a pause of everything, once that was confirmed."""
    pauses = [deed for deed in history.deeds if deed.what == PAUSE]
    # Another pause takes the place of one that is in force.
    nexts = [*(deed.begun for deed in pauses[1:]), inf]
    for deed, following in zip(pauses, nexts, strict=False):
        begun, ended = deed.ended + DECIDED_AHEAD, min(deed.begun + deed.seconds, following)
        for row in history.rows if deed.confirmed else ():
            within = row.slot is not None and begun <= row.slot.timestamp() < ended
            if within and row.status != "skipped":
                yield f"{row.task}: #{row.id}, {row.status}, is for a slot inside a pause"


def may_be_paused(row: Row, history: History) -> bool:
    """Say whether all slots of a row may have come during a pause of everything."""
    if row.slot is None:
        return False
    first, last = row.slot.timestamp(), (row.slot_until or row.slot).timestamp()
    pauses = (deed for deed in history.deeds if deed.what == PAUSE)
    return any(deed.begun <= first and last <= deed.ended + deed.seconds for deed in pauses)
