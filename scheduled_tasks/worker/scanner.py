"""Scans for alerts and folds rollups, in a thread: neither must delay the slots of the loop."""

from __future__ import annotations

import logging
import threading
import uuid
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from time import monotonic

from django.db import Error, connections, reset_queries

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models import Lock, Worker
from scheduled_tasks.models.sql.transactions import AWAY
from scheduled_tasks.monitoring.alerts.scan import ConditionScan
from scheduled_tasks.monitoring.outbox.messages import has_new
from scheduled_tasks.worker.folding import RollupFolding
from scheduled_tasks.worker.maintenance import has_passed

logger = logging.getLogger(__name__)

SCAN_LOCK = "scheduled_tasks:scan"
#: The lock is held for this many intervals; another worker scans when it has expired.
LOCK_INTERVALS = 3
#: How long a stopping worker waits for the thread, which may be in the middle of a scan.
MAX_STOP_SECONDS = 1.0


class Scanner:
    """Scans and folds once per heartbeat interval; in a thread of its own after ``start``.

    A scan must not call a slot undecided that the loop is about to decide, such as after an outage.
    So it scans as of a round that the loop has completed: the loop offers the moment of each.
    Without the thread, ``offer`` does the work itself.

    ``wake`` is called in the thread when a scan has left messages in the outbox, ``on_round`` when
    the thread is active.
    """

    def __init__(
        self,
        worker: Worker,
        *,
        wake: Callable[[], None] = lambda: None,
        on_round: Callable[[], None] = lambda: None,
        watching: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.wake = wake
        self.on_round = on_round
        self.watching = watching
        self.lock = ScanLock(worker)
        self.conditions = ConditionScan()
        #: Whether others may have scanned, or nobody, since the last scan of this worker.
        self._has_gap = False
        #: What the last round could not do because the database was away.
        self._interrupted: set[str] = set()
        self._last_run: datetime | None = None
        #: The newest round that is complete, until the thread takes it.
        self._offers: deque[datetime] = deque(maxlen=1)
        self._offered = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.folding = RollupFolding(worker, is_stopped=self._stop.is_set)

    @property
    def running(self) -> bool:
        """Whether the thread was started."""
        return self._thread is not None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="scan", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread without waiting long for it, and let another worker scan."""
        self._stop.set()
        self._offered.set()
        if self._thread is not None:
            self._thread.join(timeout=MAX_STOP_SECONDS)
        try:
            self.lock.release()
        except Error as error:
            logger.warning("another worker scans when the lock has expired: %s", error)

    def offer(self, now: datetime) -> None:
        """Offer a round that is complete, at ``now``; it costs nothing until a scan is due."""
        if self._last_run is None:
            # Not at once: the slots of an outage may take several rounds.
            self._last_run = now
        elif has_passed(app_settings.HEARTBEAT_INTERVAL, self._last_run, now):
            if self.running:
                self._offers.append(now)
                self._offered.set()
            else:
                self.run(now)

    def start_over(self) -> None:
        """Wait for an interval as at the start, since the database was away."""
        self._has_gap = True
        self.wait_an_interval()

    def wait_an_interval(self) -> None:
        """Take no round that is offered within an interval."""
        self._offers.clear()
        self._last_run = None

    def run(self, now: datetime) -> bool:
        """Scan and fold; log what fails, and return whether the database has answered."""
        self._last_run = now
        scanned = self.attempt("the scan for alerts", self.scan, now)
        return self.attempt("the folding of rollups", self.folding.run, now) and scanned

    def scan(self, now: datetime) -> None:
        """Scan, if it is this worker that does. Database errors propagate."""
        if not self.lock.acquire(now):
            self._has_gap = True
            return
        if self._has_gap:
            self._has_gap = False
            self.conditions.forget()
        self.conditions.run(now)

    def attempt(self, what: str, step: Callable[[datetime], None], now: datetime) -> bool:
        """Take a step; log what fails, an outage once. Return whether the database has answered."""
        try:
            step(now)
        except AWAY as error:
            if what not in self._interrupted:
                logger.warning("%s was interrupted and is tried again: %s", what, error)
            self._interrupted.add(what)
            return False
        except Exception:
            logger.exception("%s failed", what)
        self._interrupted.discard(what)
        return True

    def _run(self) -> None:
        try:
            with self.watching():
                while not self._stop.is_set():
                    self.on_round()
                    if self._offered.wait(app_settings.HEARTBEAT_INTERVAL):
                        self._take_offer()
        finally:
            connections.close_all()

    def _take_offer(self) -> None:
        self._offered.clear()
        if self._stop.is_set():
            return
        try:
            now = self._offers.pop()
        except IndexError:  # the loop has just started over
            return
        reset_queries()  # which Django keeps under DEBUG
        begun = monotonic()
        answered = self.run(now)
        if monotonic() - begun > app_settings.HEARTBEAT_INTERVAL:
            self.wait_an_interval()
        if not answered or not (self.lock.held or self.folding.unfinished):
            # Other workers scan, so it is not needed for some time.
            connections.close_all()
        if has_new.is_set():
            self.wake()


class ScanLock:
    """The lock of the worker that scans for all. It is held from scan to scan."""

    def __init__(self, worker: Worker) -> None:
        self.held = False
        self._lock = Lock(name=SCAN_LOCK, token=uuid.uuid4().hex, holder=worker.label)
        self._last_try: datetime | None = None

    def acquire(self, now: datetime) -> bool:
        """Whether it is this worker that scans. The others ask again when the lock may be free."""
        seconds = LOCK_INTERVALS * app_settings.HEARTBEAT_INTERVAL
        if self.held:
            # To acquire what is held would not make it last longer.
            self.held = Lock.objects.renew(self._lock, lease=seconds)
        if not self.held and has_passed(seconds, self._last_try, now):
            self._last_try = now
            self.held = Lock.objects.acquire(self._lock, lease=seconds, longest=seconds)
        return self.held

    def release(self) -> None:
        """Let another worker scan. Database errors propagate."""
        if self.held:
            self.held = False
            Lock.objects.release(self._lock)
