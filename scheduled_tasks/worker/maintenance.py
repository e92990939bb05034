"""The periodic chores of a worker: declarations, lost workers, orphaned tasks, old rows."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic

from django.db.models import Exists, OuterRef

from scheduled_tasks.conf import app_settings
from scheduled_tasks.handlers.registry import registry
from scheduled_tasks.lifecycle import reaping
from scheduled_tasks.lifecycle.batches import batches
from scheduled_tasks.lifecycle.parking import park_all, restart_clocks, unpark_all
from scheduled_tasks.models import Lock, OnceKey, TaskChange, TaskState, Worker
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.transactions import transactional
from scheduled_tasks.models.task_state import UNKNOWN_HANDLER, TaskStateQuerySet
from scheduled_tasks.operations.sync import sync
from scheduled_tasks.runtime.wording import counted
from scheduled_tasks.worker.announcements import announce_end
from scheduled_tasks.worker.lost_workers import LostWorkerDetector

logger = logging.getLogger(__name__)

#: Rows deleted at most in one round, and tasks parked, unparked and restarted.
PRUNE_BATCH_SIZE = MAX_TASKS_PER_ROUND = 1000


class Maintenance:
    """Syncs declarations, reaps lost workers, parks tasks, deletes old rows."""

    def __init__(
        self, worker: Worker, *, syncs: bool, monotonic: Callable[[], float] = monotonic
    ) -> None:
        self.worker = worker
        self.detector = LostWorkerDetector(
            lease=app_settings.LEASE,
            max_gap=app_settings.LEASE / 2,
            monotonic=monotonic,
        )
        self._to_sync = syncs
        self._last_run: datetime | None = None
        self._last_sweep: datetime | None = None
        #: The last task of a round that has left some, by what is done to them.
        self._after: dict[str, int] = {}

    def start(self, now: datetime) -> None:
        """Do the chores for the first time."""
        Worker.objects.prune(now)
        self.run_due(now)

    def reset_detector(self) -> None:
        """Start the observation of other workers again, after a lost connection."""
        self.detector.reset()

    def run_due(self, now: datetime) -> None:
        """Observe other workers once per heartbeat interval; do everything else once per lease."""
        if not has_passed(app_settings.HEARTBEAT_INTERVAL, self._last_run, now):
            return
        self._last_run = now
        self.sync_declarations(now)
        # At once where a worker was given up: what it held has waited for a lease.
        if self.mark_lost_workers(now) or has_passed(app_settings.LEASE, self._last_sweep, now):
            self._last_sweep = now
            self.reap(now)
            self.unpark_known(now)
            self.park_orphans(now)
            self.restart_clocks(now)
            self.prune(now)

    def sync_declarations(self, now: datetime) -> None:
        """Sync once, as soon as no live worker has newer declarations."""
        if not self._to_sync:
            return
        digest = self.worker.declaration_digest
        if Worker.objects.on_primary().supersedes(digest, now, within=app_settings.LEASE):
            return
        for change in sync(now=now):
            logger.info("sync %s", change)
        self._to_sync = False

    def mark_lost_workers(self, now: datetime) -> bool:
        """Mark workers without heartbeats as lost; return whether there were any."""
        workers = Worker.objects.on_primary()
        others = workers.exclude(pk=self.worker.pk).exclude(state__in=Worker.GONE)
        lost = self.detector.observe(dict(others.values_list("pk", "heartbeat_at")))
        if not lost:
            return False
        reaping.mark_lost(lost, now)
        return True

    def reap(self, now: datetime) -> None:
        """Take back the executions of workers that are lost or deleted."""
        if rows := reaping.reap(now):
            logger.error("took back %s of lost workers", counted(len(rows), "execution"))
            for row in rows:
                announce_end(row)

    def prune(self, now: datetime) -> None:
        """Delete some expired keys and expired locks."""
        OnceKey.objects.prune(now, at_most=PRUNE_BATCH_SIZE)
        Lock.objects.prune(now, at_most=PRUNE_BATCH_SIZE)

    def park_orphans(self, now: datetime) -> None:
        """Park tasks whose handler no worker has known for HANDLER_GRACE seconds.

        The grace is for rolling deploys, where old workers do not know the new handlers. It counts
        from when the task came to be, or was changed.
        """
        since = now - timedelta(seconds=app_settings.HANDLER_GRACE)
        # Workers that have stopped count, too, until the grace is over.
        lately = Worker.objects.on_primary().filter(heartbeat_at__gte=since)
        known = set(registry.handlers).union(*lately.values_list("handlers", flat=True))
        due = TaskState.objects.on_primary().filter(next_run_at__isnull=False)
        changed = TaskChange.objects.filter(task=OuterRef("pk"), changed_at__gt=since)
        orphans = due.exclude(AnyOf("task__handler", known)).exclude(Exists(changed))
        for ids in batches(self.some_of("orphans", orphans)):
            park_unknown(ids, known, now)

    def unpark_known(self, now: datetime) -> None:
        """Unpark tasks that were parked because no worker knew their handler, as this one does."""
        parked = TaskState.objects.on_primary().waiting_for_worker()
        for ids in batches(self.some_of("parked", parked.handled_by(registry.handlers))):
            unpark_of_known_handlers(ids, now)

    def restart_clocks(self, now: datetime) -> None:
        """Restart the clocks of tasks that ``QuerySet.update()`` or SQL has enabled."""
        for ids in batches(self.some_of("stopped", TaskState.objects.on_primary().stopped(now))):
            restart_stopped(ids, now)

    def some_of(self, what: str, states: TaskStateQuerySet) -> list[int]:
        """Return the ids of as many tasks as one round may change; the next round has the rest.

        It goes on after the last one, since a task may stay as it is.
        """
        after = states.filter(pk__gt=self._after.get(what, 0)).order_by("pk")
        ids = list(after.values_list("pk", flat=True)[:MAX_TASKS_PER_ROUND])
        has_rest = len(ids) == MAX_TASKS_PER_ROUND
        self._after[what] = ids[-1] if has_rest else 0
        if has_rest:
            self._last_sweep = None
        return ids


@transactional
def restart_stopped(ids: list[int], now: datetime, *, using: str = "") -> None:
    """Restart these clocks, except those of tasks that are locked or have changed meanwhile."""
    stopped = TaskState.objects.using(using).stopped(now).prefetch_related("task")
    restart_clocks(stopped.lock_tasks(ids, skip=True).values(), now, using=using)


@transactional
def park_unknown(ids: list[int], known: set[str], now: datetime, *, using: str = "") -> None:
    """Park these tasks, except those that are locked."""
    states = TaskState.objects.using(using).prefetch_related("task")
    unknown = defaultdict(list)
    for state in states.lock_tasks(ids, skip=True).values():
        # Else it was parked or changed since it was selected.
        if state.next_run_at is not None and state.task.handler not in known:
            unknown[state.task.handler].append(state)
    for handler, its_states in unknown.items():
        reason = f"{UNKNOWN_HANDLER} {handler!r}."
        for state in its_states:
            logger.error("parked task=%s: %s", state.task, reason)
        park_all(its_states, reason, now, using=using, resumable=True)


@transactional
def unpark_of_known_handlers(ids: list[int], now: datetime, *, using: str = "") -> None:
    """Unpark these tasks, except those that are locked or have changed meanwhile."""
    parked = TaskState.objects.using(using).waiting_for_worker().prefetch_related("task")
    locked = parked.lock_tasks(ids, skip=True).values()
    known = [state for state in locked if state.task.handler in registry.handlers]
    for state in known:
        logger.info("unparked task=%s: this worker knows its handler", state.task)
    unpark_all(known, now, using=using)


def has_passed(seconds: float, since: datetime | None, now: datetime) -> bool:
    """Whether these seconds have passed; true as well when the clock was set back."""
    return since is None or not since <= now < since + timedelta(seconds=seconds)
