"""The monitoring that a worker does: it scans for alerts, and sends what is in the outbox."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from datetime import datetime

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models import Lock, Worker
from scheduled_tasks.models.sql.transactions import AWAY
from scheduled_tasks.monitoring.alerts.scan import ConditionScan
from scheduled_tasks.monitoring.outbox.messages import has_new
from scheduled_tasks.worker.deliveries import Deliveries
from scheduled_tasks.worker.maintenance import has_passed

logger = logging.getLogger(__name__)

SCAN_LOCK = "scheduled_tasks:scan"
#: The lock is held for this many intervals; another worker scans when it has expired.
LOCK_INTERVALS = 3
#: Seconds that a stopping worker waits for messages that are being sent.
CLOSING_SECONDS = 10.0


class Monitor:
    """Scans once per heartbeat interval, one worker for all; sends what this one can claim."""

    def __init__(self, worker: Worker, *, on_result: Callable[[], None] = lambda: None) -> None:
        self.worker = worker
        self.deliveries = Deliveries(worker, on_result=on_result)
        self.scan = ConditionScan()
        self._token = uuid.uuid4().hex
        self._last_run: datetime | None = None
        self._last_try: datetime | None = None
        self._scans = False
        self._has_finished = False

    def run_due(self, now: datetime) -> None:
        """Scan and send, once per heartbeat interval."""
        if not has_passed(app_settings.HEARTBEAT_INTERVAL, self._last_run, now):
            return
        # Not at the start: the slots of an outage are decided first, and then known.
        is_first, self._last_run = self._last_run is None, now
        self.deliveries.run(now)
        if not is_first and self.acquires_scan(now):
            self.scan_safely(now)

    def send_new(self, now: datetime) -> None:
        """Send at once what this process has just left in the outbox, or has to try again."""
        if self.deliveries.wants_to_run(now):
            self.deliveries.run(now)

    def look_again(self) -> None:
        """Look at the outbox at the next round. Safe in any thread."""
        has_new.set()

    @property
    def max_sleep(self) -> float:
        """The longest sleep of the loop in seconds: who scans does so in each interval."""
        return app_settings.HEARTBEAT_INTERVAL if self._scans else float("inf")

    @property
    def next_at(self) -> datetime | None:
        """When a message has to be tried again, None if this worker knows of none."""
        return self.deliveries.retry_at

    def acquires_scan(self, now: datetime) -> bool:
        """Whether it is this worker that scans. The others ask again when the lock may be free."""
        seconds = LOCK_INTERVALS * app_settings.HEARTBEAT_INTERVAL
        if self._scans:
            # To acquire what is held would not make it last longer.
            self._scans = Lock.objects.renew(self.lock, lease=seconds)
        if not self._scans and has_passed(seconds, self._last_try, now):
            self._last_try = now
            self._scans = Lock.objects.acquire(self.lock, lease=seconds)
        return self._scans

    @property
    def lock(self) -> Lock:
        return Lock(name=SCAN_LOCK, token=self._token, holder=self.worker.label)

    def scan_safely(self, now: datetime) -> None:
        """Scan; what goes wrong is logged, and stops no worker."""
        try:
            self.scan.run(now)
        except AWAY:
            raise
        except Exception:
            logger.exception("the scan for alerts failed")

    def finish_pass(self, now: datetime) -> bool:
        """End a single pass: scan once, and send; return whether anything is being sent."""
        if not self._has_finished:
            self._has_finished = True
            self.scan_safely(now)
        self.deliveries.run(now)
        return self.deliveries.busy

    def wind_down(self, now: datetime) -> None:
        """Serve what is being sent while the worker waits for its last runs; claim nothing."""
        try:
            self.deliveries.wind_down(now)
        except AWAY:
            raise
        except Exception:
            logger.exception("messages could not be served while the worker stops")

    def close(self, now: datetime) -> None:
        """Let another worker scan, and finish what is being sent; whatever fails is logged."""
        try:
            if self._scans:
                Lock.objects.release(self.lock)
            self.deliveries.close(now, seconds=CLOSING_SECONDS)
        except AWAY as error:
            logger.warning("messages are left to other workers: %s", error)
        except Exception:
            logger.exception("messages are left to other workers")
