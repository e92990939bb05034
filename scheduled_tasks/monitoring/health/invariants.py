"""What is always true of live data; what is found here is a bug, or a deployment gone wrong.

Each check takes a ``Scene``, reads at most ``MAX_FOUND`` rows that break its rule, and leaves
out what workers still have time to mend: a rule is broken only if a worker has been alive for long
enough to keep it. Where no worker is alive, ``health`` says so, and little is found here.
"""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connections, models
from django.utils import timezone

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models import Execution, Task, TaskChange, TaskState, Worker
from scheduled_tasks.models.sql.transactions import write_alias
from scheduled_tasks.monitoring.health.lateness import may_be_fired, tolerance
from scheduled_tasks.monitoring.health.live_workers import (
    claimable_by,
    handlers_of,
    live_workers,
    seen_within,
    up_for,
)
from scheduled_tasks.monitoring.health.violations import Invariant, Violation
from scheduled_tasks.runtime.clock import MAX_SKEW
from scheduled_tasks.runtime.statuses import OF_SLOTS
from scheduled_tasks.runtime.wording import counted, duration, in_utc

#: Of one check.
MAX_FOUND = 100
#: Tasks without a next run whose schedules are computed, and executions searched for duplicates.
MAX_STOPPED, MAX_SEARCHED = 1_000, 100_000
#: Executions that no worker can claim, which are counted.
MAX_WAITING = 10_000
#: A heartbeat that is older is stale. Workers take executions over after one lease.
STALE_LEASES = 2
ONE_PER_SLOT = "scheduled_tasks_one_per_slot"


@dataclass(frozen=True, slots=True)
class Scene:
    """What the checks are made of: a moment, a database, and the workers that are alive in it."""

    now: datetime
    using: str
    workers: Sequence[Worker]

    def workers_up_for(self, seconds: float) -> list[Worker]:
        return up_for(seconds, self.workers, self.now)

    def before(self, seconds: float) -> datetime:
        return self.now - timedelta(seconds=seconds)


def scan_invariants(now: datetime, *, using: str = "") -> list[Violation]:
    """Check all rules at ``now``, the database's time; return what breaks them.

    One look cannot tell what is about to be mended, above all just after an outage of the database:
    trust only what is ``still_found`` by another scan, at least a heartbeat interval later.
    """
    using = using or write_alias()
    scene = Scene(now, using, live_workers(now, using=using))
    return [violation for check in CHECKS for violation in check(scene)]


def seconds_to_settle() -> float:
    """Return the seconds until workers have mended what they were about to mend."""
    return app_settings.HEARTBEAT_INTERVAL + app_settings.POLL_INTERVAL


def not_fired(scene: Scene) -> Iterator[Violation]:
    """Find enabled tasks that are due, and that no worker has fired in time."""
    late = tolerance()
    workers = scene.workers_up_for(late.total_seconds())
    states = may_be_fired(scene.now - late, workers, using=scene.using).select_related("task")
    for state in states[:MAX_FOUND] if workers else ():
        yield of_task(
            Invariant.NOT_FIRED,
            state.task,
            f"Task {state.task} was due at {in_utc(state.next_run_at or scene.now)} and has not "
            "been fired, although a worker that knows its handler is alive.",
        )


def unknown_handlers(scene: Scene) -> Iterator[Violation]:
    """Find enabled tasks that are due, not parked, and whose handler no worker knows.

    Workers park them when the handler has been unknown for HANDLER_GRACE.
    """
    grace = app_settings.HANDLER_GRACE + STALE_LEASES * app_settings.LEASE
    if not scene.workers_up_for(grace):
        return
    known = handlers_of(seen_within(grace, scene.now, using=scene.using))
    since = scene.before(grace)
    changed = TaskChange.objects.filter(task=models.OuterRef("pk"), changed_at__gt=since)
    due = TaskState.objects.using(scene.using).due(since).filter(parked_at=None)
    orphans = due.filter(task__enabled=True).exclude(task__handler__in=known)
    orphans = orphans.exclude(models.Exists(changed)).select_related("task")
    for state in orphans.order_by("next_run_at", "pk")[:MAX_FOUND]:
        yield of_task(
            Invariant.UNKNOWN_HANDLER,
            state.task,
            f"Task {state.task} was due at {in_utc(state.next_run_at or scene.now)} and is not "
            f"parked, although no worker knows its handler {state.task.handler}.",
        )


def without_next_run(scene: Scene) -> Iterator[Violation]:
    """Find enabled tasks that have no next run, although their schedules have slots to come.

    Workers restart such clocks once per lease.
    """
    if not scene.workers_up_for(STALE_LEASES * app_settings.LEASE):
        return
    states = TaskState.objects.using(scene.using)
    states = states.stopped(scene.now).select_related("task").order_by("pk")
    tasks = [state.task for state in states[:MAX_STOPPED]]
    stopped = [task for task in tasks if has_slots(task, scene.now)]
    for task in stopped[:MAX_FOUND]:
        yield of_task(
            Invariant.NO_NEXT_RUN,
            task,
            f"Task {task} is enabled and has no next run, although its schedule has slots to come.",
        )


def has_slots(task: Task, now: datetime) -> bool:
    try:
        return task.next_slot(now) is not None
    except Exception:  # noqa: BLE001 -- a worker parks a task whose schedule cannot be followed
        return True


def of_task(code: Invariant, task: Task, message: str) -> Violation:
    return Violation(code, str(task.pk), message, task_id=task.pk, task_name=task.name)


def stale_leases(scene: Scene) -> Iterator[Violation]:
    """Find workers that are gone or silent and still hold executions.

    Workers take these over, once they have observed the silent one for a whole lease.
    """
    patience = STALE_LEASES * app_settings.LEASE
    if not scene.workers_up_for(patience):
        return
    running = Execution.objects.using(scene.using).running().order_by("pk")
    running = running.filter(claimed_at__lte=scene.before(patience))
    # Executions, then workers, then executions again: in between, some end, and workers start.
    holders = set(running.order_by().values_list("worker", flat=True).distinct())
    workers = Worker.objects.using(scene.using).only("state", "heartbeat_at")
    rows = {str(worker.pk): worker for worker in workers} if holders else {}
    for holder in sorted(holders)[:MAX_FOUND]:
        worker = rows.get(holder)
        if worker and worker.heartbeat_at > scene.before(patience):
            continue
        held = running.filter(worker=holder)
        if first := held.first():
            yield stale_lease(first, held.count(), worker)


def stale_lease(first: Execution, count: int, worker: Worker | None) -> Violation:
    if worker is None:
        why = "has no row any more"
    else:
        verb = {Worker.State.LOST: "was lost", Worker.State.STOPPED: "has stopped"}
        why = verb.get(Worker.State(worker.state), "is silent")
        why += f"; its last heartbeat was at {in_utc(worker.heartbeat_at)}"
    return Violation(
        Invariant.STALE_LEASE,
        first.worker,
        f"{counted(count, 'execution')} of the worker {first.worker_label}, the first of them "
        f"#{first.pk} of {first.task_name}, counted as running, although it {why}.",
        task_id=first.task_id,
        task_name=first.task_name,
        worker=first.worker_label,
        execution_id=first.pk,
    )


def slots_that_are_not_unique(scene: Scene) -> Iterator[Violation]:
    """Find that the constraint is missing which makes two executions of a slot impossible.

    That is what a restored backup may lack. A row that covers several slots may overlap an
    execution of one of them: after an edit, a slot that comes again keeps its execution.
    """
    if slots_are_unique(scene.using):
        return
    twice = slot_with_two_executions(scene.using)
    which = f" {twice} has two executions for one slot." if twice else ""
    yield Violation(
        Invariant.SLOT_NOT_UNIQUE,
        ONE_PER_SLOT,
        f"The unique constraint {ONE_PER_SLOT} is missing: a slot may run twice.{which}",
    )


def slots_are_unique(using: str) -> bool:
    """Whether a database has the constraint on task and slot."""
    connection, table = connections[using], Execution._meta.db_table  # noqa: SLF001
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            # Django parses the whole statement, for a tenth of a second in each scan.
            written = f'CONSTRAINT "{ONE_PER_SLOT}" UNIQUE'
            sql = "SELECT 1 FROM sqlite_master WHERE name = %s AND instr(sql, %s)"
            cursor.execute(sql, [table, written])
            if cursor.fetchone():
                return True
        found = connection.introspection.get_constraints(cursor, table)
    return ONE_PER_SLOT in found and bool(found[ONE_PER_SLOT]["unique"])


def slot_with_two_executions(using: str) -> str:
    """Return the name of a task with two executions for one slot, "" if none is found."""
    rows = Execution.objects.using(using).order_by()
    newest = rows.aggregate(pk=models.Max("pk"))["pk"] or 0
    # Only the newest are searched: the history may have ten million.
    lately = rows.filter(pk__gt=newest - MAX_SEARCHED, slot__isnull=False, task__isnull=False)
    doubled = lately.values("task", "task_name", "slot").annotate(count=models.Count("pk"))
    names = doubled.filter(count__gt=1).order_by("task", "slot").values_list("task_name", flat=True)
    return names.first() or ""


def unclaimable(scene: Scene) -> Iterator[Violation]:
    """Find executions that no worker can claim: none serves their queue and knows their handler.

    As for tasks, HANDLER_GRACE is the time for deploys, and workers that are gone count until then.
    """
    grace = app_settings.HANDLER_GRACE
    if not scene.workers_up_for(grace):
        return
    able = seen_within(grace, scene.now, using=scene.using)
    waiting = Execution.objects.using(scene.using).queued().not_paused(scene.now)
    waiting = waiting.filter(~claimable_by(able), run_after__lte=scene.before(grace))
    waiting = waiting.exclude(trigger__in=OF_SLOTS, task__paused_until__gt=scene.now)
    # Counted here: a release without a handler may leave a million of them. By this column alone,
    # since its index ends the search after the first ones.
    oldest = waiting.order_by("run_after").values_list("queue", "handler", "run_after", "pk")
    groups: dict[tuple[str, str], list[tuple[datetime, int]]] = defaultdict(list)
    for queue, handler, since, pk in oldest[:MAX_WAITING]:
        groups[queue, handler].append((since, pk))
    for queue, handler in sorted(groups)[:MAX_FOUND]:
        yield of_group(queue, handler, groups[queue, handler], able)


def of_group(
    queue: str, handler: str, waiting: Sequence[tuple[datetime, int]], able: Sequence[Worker]
) -> Violation:
    since, first = min(waiting)
    count = counted(len(waiting), "execution")
    count = f"at least {count}" if len(waiting) == MAX_WAITING else count
    serving = [worker for worker in able if not worker.queues or queue in worker.queues]
    who = f"No worker that serves the queue {queue} knows the handler {handler}"
    why = who if serving else f"No worker serves the queue {queue}"
    return Violation(
        Invariant.UNCLAIMABLE,
        f"{queue} {handler}",
        f"{why}: {count} cannot be claimed, the oldest has been due since {in_utc(since)}.",
        execution_id=first,
    )


def clock_that_differs(scene: Scene) -> Iterator[Violation]:
    """Find that the clock of this host differs from the database's.

    Workers do not depend on it; log lines and what people type do. The time of ``scene`` is not
    compared, as a caller may have given any.
    """
    before = timezone.now()
    database = Worker.objects.using(scene.using).database_time()
    after = timezone.now()
    # The query took some time, and the database's moment lies within it if the clocks agree.
    skew = max(database - after, before - database)
    if skew > MAX_SKEW:
        host = socket.gethostname()
        difference = duration(round(skew.total_seconds()))
        yield Violation(
            Invariant.CLOCK_DIFFERS,
            host,
            f"The clock of {host} differs from the database's by {difference}.",
        )


CHECKS: tuple[Callable[[Scene], Iterator[Violation]], ...] = (
    not_fired,
    unknown_handlers,
    without_next_run,
    stale_leases,
    slots_that_are_not_unique,
    unclaimable,
    clock_that_differs,
)
