"""Folds rollups and deletes old ones, on one of all workers, some seconds at a time."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from time import monotonic

from scheduled_tasks.models import Lock, RollupEntry, Worker
from scheduled_tasks.monitoring.rollups.expiry import delete_old, delete_totals_without_task
from scheduled_tasks.monitoring.rollups.folding import fold_all, never
from scheduled_tasks.worker.maintenance import has_passed

#: The lock that decides which worker folds, and how long it lasts. It is not released, so that no
#: other worker folds within that time.
LOCK, LOCK_SECONDS = "scheduled_tasks:rollups", 50.0
#: How often a worker looks whether it is time to fold, and to delete totals of deleted tasks.
FOLD_SECONDS, CLEANUP_SECONDS = 60.0, 86_400.0
#: Seconds that folding, and deleting, may take in one round. What is left follows in the next one.
#: Runs in threads wait for folding, so it takes more only if there is a backlog for so long.
MAX_FOLDING_SECONDS, MAX_DELETING_SECONDS = 0.5, 1.0
LATE_SECONDS, MAX_LATE_FOLDING_SECONDS = 60.0, 2.0


class RollupFolding:
    """Folds once a minute among all workers; a backlog is folded in each round, until none is left.

    Errors propagate. After one, it is tried again in a minute.
    """

    def __init__(
        self,
        worker: Worker,
        *,
        is_stopped: Callable[[], bool] = never,
        monotonic: Callable[[], float] = monotonic,
    ) -> None:
        self.worker = worker
        self.is_stopped = is_stopped
        self.monotonic = monotonic
        #: Whether the last round has left something for the next one.
        self.unfinished = False
        self._lock = Lock(name=LOCK)
        self._last_run: datetime | None = None
        self._last_cleanup: datetime | None = None

    def run(self, now: datetime) -> None:
        """Fold and delete for some seconds, if it is this worker that does."""
        may_fold, self.unfinished = self.may_fold(now), False
        if may_fold:
            late = has_passed(LATE_SECONDS, self._last_run, now)
            is_over = self.limited(MAX_LATE_FOLDING_SECONDS if late else MAX_FOLDING_SECONDS)
            fold_all(is_over=is_over)
            has_rest = is_over()
            # Not from the same time: a backlog must not keep what is old.
            is_over = self.limited(MAX_DELETING_SECONDS)
            self.delete(now, is_over)
            self.unfinished = has_rest or is_over()

    def may_fold(self, now: datetime) -> bool:
        """Whether this worker has the lock. It is asked for only if there is something to fold."""
        if self.unfinished:
            return Lock.objects.renew(self._lock, lease=LOCK_SECONDS)
        if not has_passed(FOLD_SECONDS, self._last_run, now):
            return False
        self._last_run = now
        if not RollupEntry.objects.on_primary().exists():
            return False
        # A new token, since a holder that asks again would get the lock again.
        self._lock = Lock(name=LOCK, token=uuid.uuid4().hex, holder=self.worker.label)
        return Lock.objects.acquire(self._lock, lease=LOCK_SECONDS, longest=LOCK_SECONDS)

    def delete(self, now: datetime, is_over: Callable[[], bool]) -> None:
        """Delete what is too old, and once a day the totals of deleted tasks."""
        delete_old(now, is_over=is_over)
        if has_passed(CLEANUP_SECONDS, self._last_cleanup, now):
            delete_totals_without_task(is_over=is_over)
            if not is_over():
                self._last_cleanup = now

    def limited(self, seconds: float) -> Callable[[], bool]:
        """Return what says whether these seconds are over, or the worker stops."""
        end = self.monotonic() + seconds
        return lambda: self.is_stopped() or self.monotonic() >= end
