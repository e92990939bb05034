"""The thread that prunes once a day, on one of all workers."""

from __future__ import annotations

import logging
import random
import threading
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime

from django.db import DatabaseError, InterfaceError, connections, reset_queries

from scheduled_tasks.conf import app_settings
from scheduled_tasks.exceptions import ArchiveFailed, InvalidSettings
from scheduled_tasks.models import Lock, TaskState, Worker
from scheduled_tasks.monitoring.health.live_workers import handlers_of, live_workers
from scheduled_tasks.operations.pruning import TASK_NAME, prune_executions
from scheduled_tasks.runtime.clock import boottime
from scheduled_tasks.runtime.wording import counted

logger = logging.getLogger(__name__)

LOCK = "scheduled_tasks:prune"
#: Seconds from the start to the first check whether it is time, and between two (random).
FIRST_CHECK_SECONDS, CHECK_SECONDS = (30.0, 90.0), (300.0, 600.0)
#: Seconds for which the lock stays after a pass.
DAY = 86_400.0
#: Seconds for which it stays during a pass, and after one that failed. They are many, as a step may
#: be an upload to the archive: a worker that took over then would begin the same upload.
HOUR = 3_600.0
#: Seconds after which the lock is renewed, before the next step.
RENEWAL_SECONDS = 60.0
#: It sleeps this many times as long as it works, and not longer than these seconds at a time.
REST_FACTOR, MAX_REST_SECONDS = 9, 60.0
#: How long a stopping worker waits for this thread, which may be writing to the archive.
MAX_STOP_SECONDS = 1.0


class PruningStoppedError(Exception):
    """The worker stops, or another one has taken the lock over."""


class DailyPruning:
    """Prunes once a day among all workers, in a thread of its own after ``start``.

    The row of a lock says when that was: it is renewed during the pass, so that another worker can
    take over from one that died, and expires a day after the pass.
    """

    def __init__(
        self,
        worker: Worker,
        now: Callable[[], datetime],
        *,
        watching: Callable[[], AbstractContextManager[None]] = nullcontext,
        monotonic: Callable[[], float] = boottime,
    ) -> None:
        self.worker = worker
        self.now = now
        self.watching = watching
        self.monotonic = monotonic
        self._lock = Lock(name=LOCK)
        self._renewed_at = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="pruning", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, and do not wait long for it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=MAX_STOP_SECONDS)

    def prune_if_due(self) -> None:
        """Prune, unless that was done within a day, or somebody else does it."""
        now = self.now()
        if not (app_settings.PRUNE and not pruned_by_task(now) and self._acquire()):
            return
        try:
            pruned = prune_executions(now=now, after_step=self._rest)
        except PruningStoppedError:
            Lock.objects.release(self._lock)  # for the next worker that asks
            raise
        except (ArchiveFailed, InvalidSettings) as error:
            logger.error("pruning failed, trying again in an hour: %s", error)  # noqa: TRY400
            self._renew(HOUR)
        else:
            self._renew(DAY)
            logger.info(
                "pruned %s and %s",
                counted(pruned.executions, "execution"),
                counted(pruned.log_lines, "log line"),
            )

    def _run(self) -> None:
        pause = FIRST_CHECK_SECONDS
        with self.watching():
            while not self._stop.wait(random.uniform(*pause)):  # noqa: S311
                self._try_to_prune()
                pause = CHECK_SECONDS

    def _try_to_prune(self) -> None:
        try:
            self.prune_if_due()
        except PruningStoppedError:
            pass  # the next one goes on where this one was
        except (DatabaseError, InterfaceError) as error:
            logger.warning("pruning interrupted, trying again: %s", error)
        except Exception:
            logger.exception("pruning failed")
        finally:
            # It is needed again in minutes or a day, so it is not kept open.
            connections.close_all()

    def _rest(self, seconds: float) -> None:
        """Leave the database to others after a step, and keep the lock for the next one."""
        reset_queries()  # which Django keeps under DEBUG
        if self._stop.wait(min(seconds * REST_FACTOR, MAX_REST_SECONDS)):
            raise PruningStoppedError
        if self.monotonic() - self._renewed_at > RENEWAL_SECONDS:
            self._renew(HOUR)

    def _acquire(self) -> bool:
        self._renewed_at = self.monotonic()
        # A token for each pass: with the last one, this worker would seem to hold the lock still.
        self._lock = Lock(name=LOCK, token=uuid.uuid4().hex, holder=self.worker.label)
        return Lock.objects.acquire(self._lock, lease=HOUR, longest=DAY)

    def _renew(self, seconds: float) -> None:
        """Keep the lock for some time. Raise PruningStoppedError if another worker has it."""
        self._renewed_at = self.monotonic()
        if not Lock.objects.renew(self._lock, lease=seconds):
            raise PruningStoppedError


def pruned_by_task(now: datetime) -> bool:
    """Whether a task does it: it has a next run, and a live worker knows its handler.

    A task that is disabled, parked or over has no next run, nor has one without a schedule.
    """
    tasks = TaskState.objects.on_primary().filter(task__name=TASK_NAME)
    able = tasks.filter(task__enabled=True, next_run_at__isnull=False)
    handlers = able.values_list("task__handler", flat=True)
    return not set(handlers).isdisjoint(handlers_of(live_workers(now)))
