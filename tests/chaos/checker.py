"""Judges a history: what was promised, and was not kept, in sentences.

Each function stands for one promise. None of them asks the engine, nor uses its code.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import chain

from scheduled_tasks.runtime.statuses import UNFINISHED
from tests.chaos.history import COVERED, History, Row
from tests.chaos.journal import BEGUN, ENDED, KEPT, RETURNED
from tests.chaos.plan import Planned
from tests.chaos.served import (
    may_be_paused,
    pauses_are_kept,
    what_is_cancelled_was_to_be,
    what_people_ask_for_is_done,
    what_was_cancelled_is_not_retried,
)
from tests.chaos.told import (
    alerts_are_raised_once_at_a_time,
    every_alert_has_a_cause,
    every_failure_has_an_alert,
    every_message_arrives,
    no_alert_outlasts_its_cause,
    nobody_is_told_twice_without_harm,
    nobody_is_told_what_is_not_so,
    raised_comes_before_cleared,
)
from tests.chaos.unharmed import (
    nobody_dies_by_itself,
    nobody_healthy_is_given_up,
    nobody_healthy_loses_runs,
)

#: Ends of what has run.
RAN = ("success", "partial", "failed")
NEVER_RETRIED = ("permanent", "payload")
#: Outcomes of attempts that came to no end of their own.
TAKEN_BACK = ("lost", "given_back")
#: The losses in company that cost nothing: with no probation, the first, and the second.
MAX_FREE_LOSSES = 3


def violations(history: History) -> list[str]:
    """Return what is wrong with a history, nothing where all promises were kept."""
    promises = (
        every_slot_is_accounted_for_once,
        what_has_begun_is_not_covered,
        nothing_is_left,
        every_attempt_begins_at_most_once,
        what_must_not_be_repeated_is_not,
        what_failed_has_spent_its_budget,
        what_is_cancelled_was_to_be,
        what_people_ask_for_is_done,
        what_was_cancelled_is_not_retried,
        pauses_are_kept,
        nothing_overlaps_that_may_not,
        attempts_are_consecutive,
        losses_are_charged_at_last,
        what_succeeded_has_returned,
        what_has_returned_has_not_failed,
        checkpoints_are_kept,
        counts_are_right,
        nobody_healthy_is_given_up,
        nobody_healthy_loses_runs,
        nobody_dies_by_itself,
        every_failure_has_an_alert,
        every_alert_has_a_cause,
        alerts_are_raised_once_at_a_time,
        no_alert_outlasts_its_cause,
        every_message_arrives,
        nobody_is_told_what_is_not_so,
        nobody_is_told_twice_without_harm,
        raised_comes_before_cleared,
    )
    return list(chain.from_iterable(promise(history) for promise in promises))


def every_slot_is_accounted_for_once(history: History) -> Iterator[str]:
    """Hold that each slot has one execution, or lies in one row that says why it has none."""
    rows = defaultdict(list)
    for row in history.rows:
        if row.slot is not None:
            rows[row.task].append(row)
    for task in history.tasks.values():
        yield from wrong_slots(task, rows[task.name], history)


def wrong_slots(task: Planned, rows: list[Row], history: History) -> Iterator[str]:
    slots = task.slots()
    accounted = Counter(dict.fromkeys(slots, 0))
    for row in rows:
        assert row.slot is not None
        until = row.slot_until or row.slot
        within = slots[bisect_left(slots, row.slot) : bisect_right(slots, until)]
        accounted.update(within)
        if not within or (within[0], within[-1]) != (row.slot, until):
            yield f"{task.name}: #{row.id} is for slots that do not exist, {row.slot} to {until}"
        if len(within) != row.slots:
            yield f"{task.name}: #{row.id} says {row.slots} slots, and stands for {len(within)}"
        if row.status in COVERED and not row.reason:
            yield f"{task.name}: #{row.id} does not say why its slots have not run"
        if row.status in COVERED and task.runs_every_slot and not may_be_paused(row, history):
            yield f"{task.name}: #{row.id} leaves out {row.slot}, which had to run"
    for slot, times in accounted.items():
        if times != 1:
            yield f"{task.name}: slot {slot} is accounted for {times} times"


def what_has_begun_is_not_covered(history: History) -> Iterator[str]:
    """Hold that nothing is called skipped or missed that has been claimed, or has begun."""
    begun = {line.execution for line in history.journal if line.what == BEGUN}
    for row in history.rows:
        if row.status in COVERED and (row.attempt or row.id in begun):
            yield f"{row.task}: #{row.id} is called {row.status}, and was tried"


def nothing_is_left(history: History) -> Iterator[str]:
    """Hold that nothing waits, runs, or keeps others from running, and no process is left."""
    for row in history.rows:
        if row.status in UNFINISHED:
            yield f"{row.task}: #{row.id} is still {row.status}"
        elif row.exclusive is not None:
            yield f"{row.task}: #{row.id}, {row.status}, keeps others from running"
    for label, state in history.states.items():
        if state not in ("stopped", "lost"):
            yield f"worker {label} is still {state} on record"
    for label, life in history.lives.items():
        if life.exit_code is None:
            yield f"worker {label} has not ended"
    for process in history.left:
        yield f"process {process} was left behind"


def every_attempt_begins_at_most_once(history: History) -> Iterator[str]:
    """Hold that an attempt begins once at most, on the worker that has claimed it."""
    claimed = {(row.id, row.attempt): row.worker for row in history.rows}
    claimed |= {(one.execution, one.number): one.worker for one in history.tried}
    begun = [line for line in history.journal if line.what == BEGUN]
    for line in begun:
        claim = line.execution, line.attempt
        if claimed.get(claim) != line.worker:
            yield f"#{claim[0]}: attempt {claim[1]} was begun by {line.worker} without a claim"
    for claim, times in Counter((line.execution, line.attempt) for line in begun).items():
        if times > 1:
            yield f"#{claim[0]}: attempt {claim[1]} was begun {times} times"


def what_must_not_be_repeated_is_not(history: History) -> Iterator[str]:
    """Hold that with ``on_lost=fail`` only what has failed, or asked for it, begins again."""
    allowed = Counter(one.execution for one in history.tried if one.outcome not in TAKEN_BACK)
    begun = Counter(line.execution for line in history.journal if line.what == BEGUN)
    attempts = {(line.execution, line.attempt) for line in history.journal if line.what == BEGUN}
    never = {row.id for row in history.rows if history.tasks[row.task].on_lost == "fail"}
    for execution, times in begun.items():
        if execution in never and times > 1 + allowed[execution]:
            yield f"#{execution} must not be repeated, and was begun {times} times"
    for one in history.tried:
        begun_before = one.outcome == "lost" or (one.execution, one.number) in attempts
        if one.execution in never and one.outcome in TAKEN_BACK and begun_before:
            yield f"#{one.execution} must not be repeated, was {one.outcome}, and queued again"


def what_failed_has_spent_its_budget(history: History) -> Iterator[str]:
    """Hold that what has failed for good had no retry left, and none was made beyond."""
    for row in history.rows:
        task = history.tasks[row.task]
        spent = (
            row.failures > task.max_retries
            or row.losses > task.max_losses
            or row.category in NEVER_RETRIED
            or (row.category == "lost" and task.on_lost == "fail")
            or row.cancel_asked
        )
        if row.status == "failed" and not spent:
            yield f"{row.task}: #{row.id} is given up after {row.failures} failures"
        if row.failures > task.max_retries + 1:
            yield f"{row.task}: #{row.id} has failed {row.failures} times"
        if row.losses > task.max_losses + 1:
            yield f"{row.task}: #{row.id} was lost {row.losses} times"


def nothing_overlaps_that_may_not(history: History) -> Iterator[str]:
    """Hold that no run was beside another, or what that had started, where they may not overlap.

    That is by the kernel's word. A thread cannot be killed: those of a worker that was cut off,
    frozen or stopped may go on.
    """
    for line in history.journal:
        task = history.tasks[line.task]
        if task.may_overlap or line.beside is None:
            continue
        other = history.lives.get(line.beside)
        if task.executor == "thread" and other and other.may("costs_the_worker", by=line.at):
            continue
        yield (
            f"{line.task}: #{line.execution} attempt {line.attempt} of {line.worker} has "
            f"{line.what} beside one of {line.beside}"
        )


def attempts_are_consecutive(history: History) -> Iterator[str]:
    """Hold that each attempt but the last is on record, the last too of what ended waiting."""
    numbers = defaultdict(list)
    outcomes = defaultdict(Counter)
    for one in history.tried:
        numbers[one.execution].append(one.number)
        outcomes[one.execution][one.outcome] += 1
    for row in history.rows:
        found = numbers[row.id]
        waited = row.attempt > 0 and row.status in ("cancelled", "failed")
        if len(found) not in (max(row.attempt - 1, 0), row.attempt if waited else -1) or (
            found != list(range(1, len(found) + 1))
        ):
            yield f"{row.task}: #{row.id}, of {row.attempt} attempts, has {found} on record"
        last = len(found) < row.attempt
        if not 0 <= row.failures - outcomes[row.id]["failed"] <= last:
            yield f"{row.task}: #{row.id} counts {row.failures} times failed"


def losses_are_charged_at_last(history: History) -> Iterator[str]:
    """Hold that no loss counts that was none, and few cost nothing: else nothing would end."""
    outcomes = defaultdict(Counter)
    for one in history.tried:
        outcomes[one.execution][one.outcome] += 1
    for row in history.rows:
        found = outcomes[row.id]
        # An end of its own makes it an ordinary run again.
        free = MAX_FREE_LOSSES * (1 + found["failed"] + found["postponed"])
        if not found["lost"] - free <= row.losses <= found["lost"] + 1:
            yield f"{row.task}: #{row.id} counts {row.losses} of {found['lost']} losses"


def what_succeeded_has_returned(history: History) -> Iterator[str]:
    """Hold that nothing is called a success that has not come to its end."""
    returned = {
        (line.execution, line.attempt)
        for line in history.journal
        if (line.what, line.value) == (ENDED, RETURNED)
    }
    for row in history.rows:
        if row.status == "success" and (row.id, row.attempt) not in returned:
            yield f"{row.task}: #{row.id} is called a success, and has not returned"


def what_has_returned_has_not_failed(history: History) -> Iterator[str]:
    """Hold that what came to its end failed only by what can still happen to it then."""
    failed = {(row.id, row.attempt): row.category for row in history.rows if row.failed}
    failed |= {(one.execution, one.number): one.category for one in history.tried if one.failed}
    for line in history.journal:
        category = failed.get((line.execution, line.attempt))
        if (line.what, line.value) != (ENDED, RETURNED) or category is None:
            continue
        if category not in fatal_after_return(history.tasks[line.task]):
            said = f"{line.task}: #{line.execution} attempt {line.attempt}"
            yield f"{said} has returned, and is called failed, {category}"


def fatal_after_return(task: Planned) -> Iterator[str]:
    """Yield the categories of failures that a run may end with that has written that it returned.

    A moment goes by until its worker knows: its timeout may come, its worker may be stopped, and
    its process be killed, by the kernel too.
    """
    yield "lost"
    if task.timeout is not None:
        yield "timeout"
    if task.executor == "process":
        yield from ("crash", "memory")


def checkpoints_are_kept(history: History) -> Iterator[str]:
    """Hold that the next attempt finds what the one before was told is kept."""
    kept: dict[int, tuple[int, int]] = {}
    for line in sorted(history.journal, key=lambda line: line.attempt):
        attempt, step = kept.get(line.execution, (0, 0))
        if line.what == KEPT:
            kept[line.execution] = (line.attempt, max(step, line.value))
        elif line.what == BEGUN and attempt < line.attempt and (line.value or 0) < step:
            yield f"{line.task}: #{line.execution} kept step {step}, and found {line.value}"


def counts_are_right(history: History) -> Iterator[str]:
    """Hold that each run that ended is counted once."""
    ended = Counter(
        row.task
        for row in history.rows
        if row.status in RAN or (row.status == "cancelled" and row.cancel_asked)
    )
    for name in history.tasks:
        if history.counts.get(name) != ended[name]:
            yield f"{name}: {ended[name]} have ended, it counts {history.counts.get(name)}"
