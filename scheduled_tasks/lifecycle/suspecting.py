"""Suspect: what was lost with its worker runs apart, until it is known what ended the worker.

A worker that is killed takes all of its runs with it, and none of them can say which one was the
cause. So a loss in company costs nothing: it makes suspects. Suspects run apart for a while, their
probation: first one, then more and more of them together. What is lost again runs alone, and only
then is a loss charged to it. docs/runs.md has the rules.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile

from django.db.models import Q

from scheduled_tasks.lifecycle.recording import Claim
from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.task_state import TaskState
from scheduled_tasks.runtime.runs import Ending, Loss, Outcome
from scheduled_tasks.runtime.statuses import WELL_ENDED, Status

#: How long a suspect runs apart, and waits for an empty worker, after the first loss. Each further
#: loss makes that FACTOR times longer.
MIN_PROBATION_SECONDS, PROBATION_FACTOR, MAX_PROBATION_SECONDS = 30, 4, 480
#: Categories of failures of a process that may end its worker the next time.
DANGEROUS = ("crash", "memory", "timeout", "lost")


class Suspects(enum.Enum):
    """What a claim does about suspects that are due."""

    #: Claim the others.
    LEAVE = "leave"
    #: Claim nothing that comes after one, so that the worker becomes empty.
    AWAIT = "await"
    #: The same, but if one comes first, claim suspects and nothing else: the worker is empty.
    ALONE = "alone"
    #: Likewise, although the worker has not become empty in time.
    IN_COMPANY = "in company"


def is_charged(row: Execution) -> bool:
    """Whether the loss of an attempt that has begun counts towards ``max_losses``.

    It does where nothing else can have been the cause, and where it is final anyway. So that even a
    run that is never alone ends some day, it does after the longest probation as well.
    """
    if row.task is None or row.task.started_once:
        return True
    return bool(row.alone_on) or (row.probation_seconds or 0) >= MAX_PROBATION_SECONDS


def next_probation(seconds: int | None) -> int:
    """Return the probation that follows a loss."""
    if seconds is None:
        return MIN_PROBATION_SECONDS
    return min(seconds * PROBATION_FACTOR, MAX_PROBATION_SECONDS)


def is_acquitted(outcome: Outcome) -> bool:
    """Whether a run has ended by itself, so that its task is no suspect any more."""
    if outcome.status == Status.FAILED:
        return outcome.error_category not in DANGEROUS
    return outcome.status in WELL_ENDED


def spread_suspicion(
    endings: Mapping[Execution, Ending], states: Mapping[int, TaskState], *, using: str
) -> None:
    """Make tasks suspects whose runs were lost, and acquit those whose runs ended by themselves.

    Within a transaction that holds the states. New executions begin as what their task is, and
    those that wait are changed here.
    """
    suspected: dict[int, int] = {}
    acquitted: set[int] = set()
    for row, ending in endings.items():
        state = states.get(row.task_id or 0)
        if state is None:
            continue
        if isinstance(ending, Outcome):
            if state.probation_seconds is not None and is_acquitted(ending):
                acquitted.add(state.pk)
        elif row.probation_seconds is not None and ending.charged:
            known = max(suspected.get(state.pk, 0), state.probation_seconds or 0)
            suspected[state.pk] = max(known, row.probation_seconds)
    for seconds in set(suspected.values()):
        tasks = {task for task, probation in suspected.items() if probation == seconds}
        set_probation(tasks, seconds, Q(probation_seconds=None), using=using)
    if acquitted := acquitted.difference(suspected):
        # What was tried before may have been lost itself.
        set_probation(acquitted, None, Q(attempt=0), using=using)


def set_probation(tasks: Collection[int], seconds: int | None, which: Q, *, using: str) -> None:
    """Set the probation of tasks, and of those of their queued executions."""
    states = TaskState.objects.using(using).filter(AnyOf("pk", tasks))
    states.update(probation_seconds=seconds)
    waiting = Execution.objects.using(using).queued().filter(AnyOf("task", tasks))
    waiting.filter(which).update(probation_seconds=seconds)


def without_suspects(rows: Sequence[Execution]) -> list[Execution]:
    return [row for row in rows if not row.is_suspect]


def run_together(suspects: Sequence[Execution]) -> list[Execution]:
    """Return which of some suspects run at the same time: the first ones lost once, or the first.

    What runs once at most runs alone, since no loss of it is forgiven.
    """
    return list(takewhile(may_run_together, suspects)) or list(suspects[:1])


def may_run_together(row: Execution) -> bool:
    started_once = row.task is not None and row.task.started_once
    return not (was_lost_again(row) or started_once)


def was_lost_again(row: Execution) -> bool:
    """Whether a suspect runs alone, so that its next loss is charged."""
    return (row.probation_seconds or 0) > MIN_PROBATION_SECONDS


def has_suspect_alone(host: str, *, using: str) -> bool:
    """Whether a suspect runs alone on one of the workers of a host."""
    return Execution.objects.using(using).running().filter(alone_on=host).exists()


def end_probation(claim: Claim) -> None:
    """Let others run next to a suspect: it has been alone for long enough."""
    pk, attempt = claim
    Execution.objects.on_primary().running().filter(pk=pk, attempt=attempt).update(alone_on="")


def suspects_among(endings: Mapping[Execution, Ending]) -> bool:
    """Whether an ending may change what is known of suspects; most do not."""
    return any(row.is_suspect or isinstance(ending, Loss) for row, ending in endings.items())
