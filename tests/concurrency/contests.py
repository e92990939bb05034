"""What processes do at once that only one of them may do."""

from __future__ import annotations

import time
import uuid
from contextlib import nullcontext
from dataclasses import dataclass, field

from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.utils import timezone

from scheduled_tasks.executors.attempt_store import DatabaseAttemptStore
from scheduled_tasks.executors.runner import context_of
from scheduled_tasks.operations.locks import lock
from scheduled_tasks.runtime.cancellation import Cancellation
from scheduled_tasks.runtime.clock import boottime
from scheduled_tasks.runtime.context import NullRecorder
from scheduled_tasks.runtime.runs import Run

#: So many seconds the first stays, for others to come while it holds the key.
STAY = 0.05


class GivesUpError(Exception):
    """One who was the first does not do it."""


@dataclass
class Contest:
    """One key that processes race for, each for its own run, and what each of them was told."""

    runs: list[Run]
    key: str
    atomic: bool = False
    isolation: str = ""
    give_up: int = 0
    told: bool | None = field(default=None, init=False)


def do_once(contest: Contest, number: int) -> None:
    """Do it if nobody has; the first few of those who race give up when they could."""
    run = contest.runs[number]
    context = context_of(
        run, NullRecorder(), Cancellation(), DatabaseAttemptStore(run, timezone.now)
    )
    with transaction.atomic() if contest.atomic else nullcontext():
        if contest.isolation:
            with connection.cursor() as cursor:
                cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {contest.isolation}")
        with context.once(contest.key) as first:
            if first:
                if number < contest.give_up:
                    raise GivesUpError
                Group.objects.create(name=f"{contest.key} {uuid.uuid4()}")
                time.sleep(STAY)
    contest.told = first


@dataclass
class Counting:
    """From when to when somebody has held a lock, each time, by a clock that all share."""

    held: list[tuple[float, float]] = field(default_factory=list)


def count(counting: Counting, times: int) -> None:
    """Read a number and write the next one, as only one may do at a time."""
    for _ in range(times):
        with lock("number") as held:
            begun = boottime()
            number = int(Group.objects.get().name)
            held.check()
            Group.objects.update(name=str(number + 1))
            counting.held.append((begun, boottime()))
