"""A clock that tests move: everything scheduled runs, moment by moment, without waiting."""

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
from scheduled_tasks.runtime.statuses import FINISHED
from scheduled_tasks.schedules import Interval
from scheduled_tasks.testing.moments import Moment, moment_of
from scheduled_tasks.worker.engine import Engine

#: More ticks at one moment mean that something is run again at once, for ever.
MAX_TICKS = 10_000


class TaskClock:
    """A clock for tests: all tasks follow it, starting at a moment.

    Creating it writes declared tasks into the database. Each task has its first slot after that
    moment, and intervals count from it unless code gives an anchor. Moving it lets the engine fire
    and run everything that becomes due, in this thread, one run after the other, each at its own
    moment, with retries after their delays. The clock stands still during a run.

    It is ``now`` for tasks only. ``timezone.now()`` does not change.
    """

    def __init__(self, moment: Moment) -> None:
        self.now = moment_of(moment)
        self._engine = PlayedEngine()
        # What has ended before belongs to no move of this clock.
        self._returned = {row.pk for row in finished()}
        sync(now=self.now)
        with transaction.atomic(using=write_alias()):
            for state in TaskState.objects.select_related("task").locked():
                restart_at(state, self.now)

    def move_by(self, time: timedelta | None = None, **units: float) -> list[Execution]:
        """Move the clock by a timedelta, or by its arguments: ``hours=6``. See ``move_to``."""
        return self.move_to(self.now + (timedelta(**units) if time is None else time))

    def move_to(self, moment: Moment) -> list[Execution]:
        """Move the clock to a moment, inclusive; return the executions that ended, in order.

        They include the rows of slots that were not run, with the reasons. Raise ValueError for a
        moment in the past.
        """
        target = moment_of(moment)
        if target < self.now:
            raise ValueError(f"The clock shows {self.now} and cannot be moved back to {target}.")
        begun = self.now
        self.play()
        while (following := self.next_moment()) is not None and following <= target:
            self.now = following
            self.play()
        self.now = target
        return self.ended_since(begun)

    def play(self) -> None:
        """Run everything that is due now. Raise RuntimeError if that never ends."""
        for _ in range(MAX_TICKS):
            if self._engine.tick(self.now).idle:
                return
        raise RuntimeError(
            f"Runs at {self.now} never end. Does a handler raise RetryLater(0) each time?"
        )

    def next_moment(self) -> datetime | None:
        """Return the first moment after now at which something may be due."""
        moments = [
            first(TaskState, "next_run_at", self.now),
            first(Execution, "run_after", self.now, status=Execution.Status.QUEUED),
            first(Task, "paused_until", self.now),
            first(Pause, "until", self.now, ended_at=None),
        ]
        return min((moment for moment in moments if moment is not None), default=None)

    def ended_since(self, moment: datetime) -> list[Execution]:
        """Return the executions that have ended since a moment and were not returned before."""
        rows = finished().filter(finished_at__range=(moment, self.now))
        ended = [row for row in rows if row.pk not in self._returned]
        self._returned.update(row.pk for row in ended)
        # The clock stands still, so ends share a moment. Slots that did not run come first.
        turn = {number: turn for turn, number in enumerate(self._engine.begun)}
        return sorted(ended, key=lambda row: (row.finished_at, turn.get(row.pk, -1), row.pk))


class PlayedEngine(Engine):
    """The engine of a worker that runs one execution at a time, in the calling thread.

    ``begun`` are the ids of the executions that it has run, in order.
    """

    def __init__(self) -> None:
        super().__init__(
            concurrency=1,
            worker_name="test",
            executor=InlineExecutor,
            # TaskClock syncs itself, at its own moment.
            syncs=False,
            clock=StillClock(),
        )
        self.begun: list[int] = []

    def watch(self, now: datetime) -> None:
        """Raise no alerts but those of the runs themselves."""

    def report_round(self, now: datetime) -> None:
        """Send nothing: a test is not the scheduler whose heartbeat a service expects."""

    def start_all(self, claimed: Iterable[Run]) -> None:
        """Run what was claimed, and ignore the executor of the task."""
        runs = [replace(run, executor="") for run in claimed]
        self.begun += [run.execution_id for run in runs]
        super().start_all(runs)


class StillClock(Clock):
    """The clock of the engine, which only ``set`` moves."""

    def __init__(self) -> None:
        super().__init__()
        self._moment = super().now()

    def now(self) -> datetime:
        return self._moment

    def set(self, moment: datetime) -> None:
        self._moment = moment


def finished() -> QuerySet[Execution]:
    return Execution.objects.filter(status__in=FINISHED)


def restart_at(state: TaskState, moment: datetime) -> None:
    """Restart a task as if it were created at a moment."""
    task = state.task
    anchored = (task.declared or {}).get("anchor")
    if task.schedule and not anchored and isinstance(task.parse_schedule(), Interval):
        task.anchor = moment
        # Not save(), which would decide the slots so far and record a change.
        Task.objects.filter(pk=task.pk).update(anchor=moment)
    state.last_slot = None  # from another clock; it may be in the future
    state.save(update_fields=["last_slot"])
    restart_clock(state, moment, using=write_alias())


def first(model: Any, column: str, after: datetime, **kept: Any) -> datetime | None:
    """Return the earliest value of a column after a moment."""
    rows = model.objects.filter(**kept, **{f"{column}__gt": after})
    found: datetime | None = rows.aggregate(first=Min(column))["first"]
    return found
