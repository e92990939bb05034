"""Move the clock: play all that the schedules ask for, moment by moment, without waiting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Min, QuerySet

from scheduled_tasks.executors.inline import InlineExecutor
from scheduled_tasks.lifecycle.parking import restart_clock
from scheduled_tasks.models import Execution, Pause, Task, TaskState
from scheduled_tasks.models.sql.transactions import write_alias
from scheduled_tasks.operations.sync import sync
from scheduled_tasks.runtime.clock import Clock
from scheduled_tasks.runtime.runs import Run
from scheduled_tasks.schedules import Interval
from scheduled_tasks.testing.moments import Moment, moment_of
from scheduled_tasks.worker.engine import Engine

#: More than this does not happen at one moment, unless something is run again and again at once.
MAX_TICKS = 10_000


class TaskClock:
    """A clock for tests, which all tasks go by from a moment on.

    When it is made, tasks that are only in code are written into the database, and each has its
    first slot after that moment; intervals count from it, unless code gives them an anchor. When it
    is moved, what comes due until then is fired and run by the engine itself, in this thread, one
    run after the other, each at its own moment, retries after their delays. While something runs
    the clock stands still. It is ``now`` for tasks only: ``timezone.now()`` goes on as ever.
    """

    def __init__(self, moment: Moment) -> None:
        self.now = moment_of(moment)
        self._engine = PlayedEngine()
        self._told = {row.pk for row in finished()}
        sync(now=self.now)
        with transaction.atomic(using=write_alias()):
            for state in TaskState.objects.select_related("task").locked():
                begin_at(state, self.now)

    def move_by(self, time: timedelta | None = None, **units: float) -> list[Execution]:
        """Move it on by a timedelta, or by what makes one: ``hours=6``. See ``move_to``."""
        return self.move_to(self.now + (timedelta(**units) if time is None else time))

    def move_to(self, moment: Moment) -> list[Execution]:
        """Move it on to a moment, included; return the executions that ended, in their order.

        AnyOf them are the rows that say of slots why they were not run. Raise ValueError for a
        moment that is over.
        """
        target = moment_of(moment)
        if target < self.now:
            raise ValueError(f"It is {self.now} already: the clock is not moved back to {target}.")
        begun = self.now
        self.play()
        while (coming := self.coming()) is not None and coming <= target:
            self.now = coming
            self.play()
        self.now = target
        return self.ended_since(begun)

    def play(self) -> None:
        """Do all that is due now. Raise RuntimeError if that does not come to an end."""
        for _ in range(MAX_TICKS):
            if self._engine.tick(self.now).idle:
                return
        raise RuntimeError(
            f"At {self.now} there is no end of runs: does a handler raise RetryLater(0) each time?"
        )

    def coming(self) -> datetime | None:
        """Return the first moment after now at which there may be something to do."""
        moments = [
            first(TaskState, "next_run_at", self.now),
            first(Execution, "run_after", self.now, status=Execution.Status.QUEUED),
            first(Task, "paused_until", self.now),
            first(Pause, "until", self.now, ended_at=None),
        ]
        return min((moment for moment in moments if moment is not None), default=None)

    def ended_since(self, moment: datetime) -> list[Execution]:
        """Return what has ended since a moment and was not returned before."""
        rows = finished().filter(finished_at__range=(moment, self.now))
        ended = [row for row in rows if row.pk not in self._told]
        self._told.update(row.pk for row in ended)
        turn = {number: turn for turn, number in enumerate(self._engine.begun)}
        return sorted(ended, key=lambda row: (row.finished_at, turn.get(row.pk, -1), row.pk))


class PlayedEngine(Engine):
    """The engine as one worker that does one thing after the other, and everything right here.

    ``begun`` are the ids of what it has run, in order.
    """

    def __init__(self) -> None:
        super().__init__(
            concurrency=1,
            worker_name="test",
            executor=InlineExecutor,
            syncs=False,
            clock=StillClock(),
        )
        self.begun: list[int] = []

    def start_all(self, claimed: Iterable[Run]) -> None:
        """Run what was claimed, whatever executor its task wants."""
        runs = [replace(run, executor="") for run in claimed]
        self.begun += [run.execution_id for run in runs]
        super().start_all(runs)


class StillClock(Clock):
    """Stands at the moment to which it was last set."""

    def now(self) -> datetime:
        """Return that moment."""
        return self._base[0]


def finished() -> QuerySet[Execution]:
    return Execution.objects.exclude(status__in=Execution.UNFINISHED)


def begin_at(state: TaskState, moment: datetime) -> None:
    """Let a task begin at a moment, as if it were made then."""
    task = state.task
    anchored = (task.declared or {}).get("anchor")
    if task.schedule and not anchored and isinstance(task.parse_schedule(), Interval):
        task.anchor = moment
        Task.objects.filter(pk=task.pk).update(anchor=moment)
    state.last_slot = None  # by another clock it may lie ahead
    state.save(update_fields=["last_slot"])
    restart_clock(state, moment, using=write_alias())


def first(model: Any, column: str, after: datetime, **kept: Any) -> datetime | None:
    """Return the first moment in a column after another one."""
    rows = model.objects.filter(**kept, **{f"{column}__gt": after})
    found: datetime | None = rows.aggregate(first=Min(column))["first"]
    return found
