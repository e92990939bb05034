"""What is old enough to go: a rule for each task with values of its own, and one for the rest."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import OuterRef, Q, Subquery

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models import Execution, Task, TaskState
from scheduled_tasks.models.execution_queries import DEAD, ExecutionQuerySet
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.runtime import statuses

#: The policies of a task that take it out of the rule for the rest.
OWN_VALUES = ("retention_days", "log_retention_days", "keep_last")
#: A row with a slot keeps the slot from running twice. Clocks and edits that go back by less than
#: this find it there.
SLOT_DAYS = 1
#: Nothing is older, and every database can compare it.
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """The moments before which executions of one task, or of the rest, are pruned at ``now``.

    The rest (``task_id`` None) is every task without values of its own, and every deleted task.
    """

    task_id: int | None = None
    now: datetime
    executions_before: datetime
    failures_before: datetime
    logs_before: datetime
    slots_before: datetime
    keep_last: int

    @property
    def walked(self) -> ExecutionQuerySet:
        """The executions to walk through by id: for the rest those of all tasks, without a join."""
        everything = Execution.objects.all()
        return everything.filter(task=self.task_id) if self.task_id else everything

    def of_its_tasks(self, prefix: str = "") -> Q:
        """Return the condition of belonging to the task, or to the rest."""
        if self.task_id:
            return Q((f"{prefix}task", self.task_id))
        return Q((f"{prefix}task", None)) | Q(
            *((f"{prefix}task__{name}", None) for name in OWN_VALUES)
        )

    @property
    def expired(self) -> Q:
        """The condition of an execution that may go, unless it is among the newest."""
        failed = Q(status=statuses.Status.FAILED)
        old = Q(finished_at__lt=self.executions_before) & ~failed
        old |= Q(finished_at__lt=self.failures_before) & failed
        # A note that somebody has just made stays as long as a new failure.
        settled = Q(resolved_at=None) | Q(resolved_at__lt=self.failures_before)
        slots = Q(slot=None) | Q(slot__lt=self.slots_before)
        covered = Q(slot_until=None) | Q(
            slot_until__lt=min(self.executions_before, self.slots_before)
        )
        finished = Q(status__in=statuses.FINISHED)
        return finished & old & settled & slots & covered & ~DEAD & self.of_its_tasks()

    @property
    def leaves_lines(self) -> bool:
        """Whether an execution that may go can have lines that are not old by themselves."""
        return self.logs_before < max(self.executions_before, self.failures_before)

    @property
    def expired_lines(self) -> Q:
        """The condition of a log line that may go; those of unfinished executions stay."""
        finished = Q(execution__status__in=statuses.FINISHED)
        return Q(logged_at__lt=self.logs_before) & finished & self.of_its_tasks("execution__")


class NewestKept:
    """Finds what is kept though it is old, as it is among the newest of its task."""

    def __init__(self, keep_last: int, *, using: str) -> None:
        self.keep_last = keep_last
        self.using = using
        #: By task, the id of the last that is kept. More executions can only make it greater.
        self._last: dict[int, int] = {}

    def among(self, rows: Iterable[tuple[int, int | None]]) -> set[int]:
        """Return the ids that are kept of these executions, which are pairs of id and task.

        Deleted tasks keep none.
        """
        if not self.keep_last:
            return set()
        of_tasks = [(pk, task) for pk, task in rows if task]
        if unknown := {task for _, task in of_tasks}.difference(self._last):
            self._last |= self._find_last(unknown)
        return {pk for pk, task in of_tasks if pk >= self._last[task]}

    def _find_last(self, tasks: Collection[int]) -> dict[int, int]:
        finished = Execution.objects.using(self.using).filter(
            task=OuterRef("pk"), status__in=statuses.FINISHED
        )
        last = finished.order_by("-pk").values("pk")[self.keep_last - 1 : self.keep_last]
        found = Task.objects.using(self.using).filter(AnyOf("pk", tasks))
        # None where there are fewer: then all are kept.
        ids = {task: pk or 0 for task, pk in found.values_list("pk", Subquery(last))}
        return dict.fromkeys(tasks, 0) | ids


def extendable(tasks: Collection[int], ids: Collection[int], *, using: str) -> set[int]:
    """Return which of these rows the next decision may let cover more slots."""
    states = TaskState.objects.using(using).filter(AnyOf("pk", tasks), AnyOf("covering", ids))
    return {pk for pk in states.values_list("covering", flat=True) if pk is not None}


def rules(now: datetime, *, using: str) -> list[Retention]:
    """Return the rules in force, that of the rest first."""
    own = Q(*((f"{name}__isnull", False) for name in OWN_VALUES), _connector=Q.OR)
    tasks = Task.objects.using(using).filter(own).order_by("pk").only("pk", *OWN_VALUES)
    return [rule(now), *(rule(now, task) for task in tasks)]


def rule(now: datetime, task: Task | None = None) -> Retention:
    """Return the rule of a task, by default that of the rest."""
    own = task or Task()
    # A task's own number is about all of its executions: nothing but this could shorten the time
    # for which a task that fails all the time keeps its failures.
    failures = own.retention_days or max(
        app_settings.FAILURE_RETENTION_DAYS, app_settings.RETENTION_DAYS
    )
    return Retention(
        task_id=own.pk,
        now=now,
        executions_before=days_before(now, own.retention_days or app_settings.RETENTION_DAYS),
        failures_before=days_before(now, failures),
        logs_before=days_before(now, own.log_retention_days or app_settings.LOG_RETENTION_DAYS),
        slots_before=days_before(now, SLOT_DAYS),
        keep_last=app_settings.KEEP_LAST if own.keep_last is None else own.keep_last,
    )


def days_before(now: datetime, days: int) -> datetime:
    """Return the moment this many days ago, at the earliest 1970."""
    # A setting may hold more days than a timedelta.
    return now - timedelta(days=days) if days < (now - EPOCH).days else EPOCH
