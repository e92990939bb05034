"""What a worker looks after besides its own executions, once every heartbeat or lease."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from scheduled_tasks.conf import app_settings
from scheduled_tasks.handlers.registry import registry
from scheduled_tasks.models import Execution, Lock, OnceKey, TaskState, Worker
from scheduled_tasks.models.sql.transactions import in_transaction
from scheduled_tasks.operations.sync import sync
from scheduled_tasks.worker.lost_workers import LostWorkerDetector

logger = logging.getLogger(__name__)


#: Rows that are deleted in one go.
PRUNE_BATCH_SIZE = 1000


class Maintenance:
    """Writes declarations, takes back what lost workers held, parks, prunes."""

    def __init__(
        self, worker: Worker, *, syncs: bool, monotonic: Callable[[], float] = time.monotonic
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

    def start(self, now: datetime) -> None:
        """Do what a worker does first."""
        Worker.objects.prune(now)
        self.run_due(now)

    def reset_detector(self) -> None:
        """Forget what was seen of other workers: this one lost sight of them for a while."""
        self.detector.reset()

    def run_due(self, now: datetime) -> None:
        """Look after the other workers once a heartbeat, after what nobody holds once a lease."""
        if not is_over(app_settings.HEARTBEAT_INTERVAL, self._last_run, now):
            return
        self._last_run = now
        self.sync_declarations(now)
        if self.give_up_lost() or is_over(app_settings.LEASE, self._last_sweep, now):
            self._last_sweep = now
            self.reap(now)
            self.park_orphans(now)
            self.prune(now)

    def sync_declarations(self, now: datetime) -> None:
        """Write the declarations once, as soon as no live worker has newer ones."""
        if not self._to_sync:
            return
        digest = self.worker.declaration_digest
        if Worker.objects.on_record().supersedes(digest, now, within=app_settings.LEASE):
            return
        for change in sync(now=now):
            logger.info("sync %s", change)
        self._to_sync = False

    def give_up_lost(self) -> bool:
        """Give up the workers whose heartbeat stands still; say whether there were any."""
        workers = Worker.objects.on_record()
        others = workers.exclude(pk=self.worker.pk).exclude(state__in=Worker.GONE)
        lost = self.detector.observe(dict(others.values_list("pk", "heartbeat_at")))
        if not lost:
            return False
        for worker in workers.give_up(lost):
            logger.error("worker lost label=%s, its last heartbeat was %s", worker, lost[worker.pk])
        return True

    def reap(self, now: datetime) -> None:
        """Take back the executions of workers that are lost, or whose row is gone."""
        if count := Execution.objects.reap(now):
            logger.error("took back %s executions of lost workers", count)

    def prune(self, now: datetime) -> None:
        """Delete some of the keys that have expired, and of the locks that nobody gave back."""
        OnceKey.objects.prune(now, at_most=PRUNE_BATCH_SIZE)
        Lock.objects.prune(now, at_most=PRUNE_BATCH_SIZE)

    def park_orphans(self, now: datetime) -> None:
        """Park the tasks whose handler no worker has known for HANDLER_GRACE seconds.

        That long, so that a rolling deploy, in which old workers do not know the new handlers and
        new ones not the old, parks nothing.
        """
        since = now - timedelta(seconds=app_settings.HANDLER_GRACE)
        lately = Worker.objects.on_record().filter(heartbeat_at__gte=since)
        known = set(registry.handlers).union(*lately.values_list("handlers", flat=True))
        due = TaskState.objects.on_record().filter(next_run_at__isnull=False)
        orphans = due.exclude(task__handler__in=known).values_list("pk", flat=True)
        if ids := list(orphans):
            in_transaction(lambda: self.park(ids, known, now), using=due.db)

    def park(self, ids: list[int], known: set[str], now: datetime) -> None:
        """Park those of these tasks whose states nobody holds, within a transaction."""
        for state in TaskState.objects.lock_tasks(ids, skip=True).values():
            if state.next_run_at is None or state.task.handler in known:
                continue  # somebody was faster, to park it or to mend it
            reason = f"No worker knows the handler {state.task.handler!r}."
            logger.error("parked task=%s: %s", state.task, reason)
            state.park(reason, now)


def is_over(seconds: float, since: datetime | None, now: datetime) -> bool:
    """Say whether so much time has passed; so it has where the clock was set back since."""
    return since is None or not since <= now < since + timedelta(seconds=seconds)
