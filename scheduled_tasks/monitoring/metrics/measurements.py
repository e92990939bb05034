"""What metrics show, read from the database in a few statements that do not read the history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Count, Max, Min, Q
from django.db.models.functions import Now

from scheduled_tasks.models import (
    Alert,
    Delivery,
    Execution,
    Rollup,
    RollupEntry,
    Task,
    TaskState,
)
from scheduled_tasks.models.delivery import DeliveryQuerySet
from scheduled_tasks.models.sql.transactions import in_transaction, write_alias
from scheduled_tasks.monitoring.health.live_workers import live_workers
from scheduled_tasks.monitoring.outbox.overdue import ABOUT_ALERTS, HEARTBEATS, is_overdue
from scheduled_tasks.monitoring.rollups.figures import consistent
from scheduled_tasks.monitoring.rollups.folding import EVERYTHING, merge, summed
from scheduled_tasks.monitoring.rollups.reading import read_entries
from scheduled_tasks.runtime.statuses import FINISHED

#: Tasks that have values of their own, the oldest. Those of the others are added up.
MAX_TASKS = 1_000
#: Queues that have values of their own, the fullest.
MAX_QUEUES = 100
OTHER = "other"
#: The columns of a rollup that are shown of each task.
SHOWN = (*(status.value for status in FINISHED), "started", "on_time", "duration_sum_ms")
NOTHING = (0,) * len(SHOWN)

Sums = Mapping[str, int]


@dataclass(slots=True)
class Measurements:
    """The state of everything at one moment. ``tasks`` are sums of SHOWN by the name of a task.

    ``everything`` is the total of all tasks, also of those that are deleted. Moments of
    ``last_successes`` are when the last successful run of a task began.
    """

    everything: Rollup
    tasks: dict[str, Sums] = field(default_factory=dict)
    last_successes: dict[str, datetime] = field(default_factory=dict)
    enabled_tasks: int = 0
    disabled_tasks: int = 0
    parked_tasks: int = 0
    queued: Mapping[str, int] = field(default_factory=dict)
    running: int = 0
    oldest_due_seconds: float = 0.0
    workers: int = 0
    open_alerts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    alert_deliveries: Mapping[str, int] = field(default_factory=dict)
    heartbeat_deliveries: Mapping[str, int] = field(default_factory=dict)


def measure(now: datetime | None = None) -> Measurements:
    """Read everything as of the database's time, in one transaction with the engine's limits."""
    using = write_alias()
    return in_transaction(lambda: read_all(now, using=using), using=using)


def read_all(now: datetime | None, *, using: str) -> Measurements:
    everything, totals = read_totals(using=using)
    measured = Measurements(everything)
    add_tasks(measured, totals, using=using)
    database_time = add_running(measured, using=using)
    # Not the clock of this host: heartbeats and executions have the times of the database.
    now = now or database_time
    add_queue(measured, now, using=using)
    measured.workers = len(live_workers(now, using=using))
    add_alerts(measured, using=using)
    add_deliveries(measured, now, using=using)
    return measured


def read_totals(*, using: str) -> tuple[Rollup, dict[int, Sequence[int]]]:
    """Return the total of everything, and what is shown of each task by its id."""
    of_all_time = Rollup.objects.using(using).filter(resolution=Rollup.Resolution.TOTAL)
    plain = of_all_time.exclude(task_id=EVERYTHING).order_by()
    stored, pending = consistent(
        lambda: (
            of_all_time.filter(task_id=EVERYTHING).first() or Rollup(task_id=EVERYTHING),
            {task: sums for task, *sums in plain.values_list("task_id", *SHOWN)},
        ),
        RollupEntry.objects.using(using).order_by(),
    )
    everything, totals = stored
    facts, _ = read_entries(pending)
    for key, rollup in summed(facts, [Rollup.Resolution.TOTAL]).items():
        if key.task_id == EVERYTHING:
            merge(everything, rollup)
        else:
            before = totals.get(key.task_id, NOTHING)
            new = [getattr(rollup, name) for name in SHOWN]
            totals[key.task_id] = [a + b for a, b in zip(before, new, strict=True)]
    return everything, dict(totals)


def add_tasks(measured: Measurements, totals: Mapping[int, Sequence[int]], *, using: str) -> None:
    """Add what is known of the tasks that exist."""
    columns = ("pk", "name", "enabled", "state__parked_at", "state__last_success_at")
    rows = Task.objects.using(using).order_by("pk").values_list(*columns)
    others: Counter[str] = Counter()
    for position, (pk, name, enabled, parked_at, last_success_at) in enumerate(rows):
        measured.parked_tasks += parked_at is not None
        measured.enabled_tasks += enabled and parked_at is None
        measured.disabled_tasks += not enabled and parked_at is None
        sums = dict(zip(SHOWN, totals.get(pk, NOTHING), strict=True))
        if position < MAX_TASKS:
            measured.tasks[name] = sums
            if last_success_at is not None:
                measured.last_successes[name] = last_success_at
        else:
            others.update(sums)
    if others:
        # A task may have that very name.
        measured.tasks[OTHER] = Counter(measured.tasks.get(OTHER, {})) + others


def add_running(measured: Measurements, *, using: str) -> datetime:
    """Add how many executions run. Return the database's time, by the same query."""
    running = Execution.objects.using(using).order_by().running()
    found = running.aggregate(count=Count("pk"), now=Max(Now(), default=Now()))
    measured.running = found["count"]
    moment: datetime = found["now"]
    return moment


def add_queue(measured: Measurements, now: datetime, *, using: str) -> None:
    executions = Execution.objects.using(using).order_by()
    queues = executions.queued().values_list("queue").annotate(Count("pk"))
    by_size = sorted(queues, key=lambda each: (-each[1], each[0]))
    # One without executions keeps the metric there for dashboards.
    measured.queued = dict(by_size[:MAX_QUEUES]) or {Execution().queue: 0}
    if others := sum(count for _, count in by_size[MAX_QUEUES:]):
        # A queue may have that very name.
        measured.queued[OTHER] = measured.queued.get(OTHER, 0) + others
    # Also where no worker is left that could do it.
    waiting = executions.queued().not_held_back(now).filter(run_after__lte=now)
    slots = TaskState.objects.using(using).due(now).filter(task__enabled=True, parked_at=None)
    oldest = (
        waiting.aggregate(oldest=Min("run_after"))["oldest"],
        slots.aggregate(oldest=Min("next_run_at"))["oldest"],
    )
    if any(oldest):
        since = min(moment for moment in oldest if moment is not None)
        measured.oldest_due_seconds = (now - since).total_seconds()


def add_alerts(measured: Measurements, *, using: str) -> None:
    alerts = Alert.objects.using(using).open().order_by()
    counted = alerts.values_list("condition", "severity").annotate(Count("pk"))
    measured.open_alerts = {(condition, severity): n for condition, severity, n in counted}


def add_deliveries(measured: Measurements, now: datetime, *, using: str) -> None:
    pending = Q(finished_at=None)
    # Not what was withdrawn because its alert had cleared.
    given_up = Q(finished_at__isnull=False, attempts__gt=0)
    found = undelivered(using=using).aggregate(
        alerts_pending=Count("pk", filter=pending & ABOUT_ALERTS),
        alerts_overdue=Count("pk", filter=is_overdue(now)),
        alerts_given_up=Count("pk", filter=given_up & ABOUT_ALERTS),
        heartbeats_pending=Count("pk", filter=pending & HEARTBEATS),
        heartbeats_given_up=Count("pk", filter=given_up & HEARTBEATS),
    )
    measured.alert_deliveries = {
        state: found[f"alerts_{state}"] for state in ("pending", "overdue", "given_up")
    }
    measured.heartbeat_deliveries = {
        state: found[f"heartbeats_{state}"] for state in ("pending", "given_up")
    }


def undelivered(*, using: str) -> DeliveryQuerySet:
    """Return the messages that wait, were given up, or were withdrawn."""
    # Not delivered=False, which Django writes as NOT: SQLite and MySQL use no index for that.
    return Delivery.objects.using(using).filter(delivered__in=[False]).order_by()
