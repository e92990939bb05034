"""The monitoring that a worker does: it scans for alerts, and sends what is in the outbox."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models import Worker
from scheduled_tasks.models.sql.transactions import AWAY
from scheduled_tasks.monitoring.outbox.messages import has_new
from scheduled_tasks.worker.deliveries import Deliveries
from scheduled_tasks.worker.maintenance import has_passed
from scheduled_tasks.worker.scanner import Scanner

logger = logging.getLogger(__name__)

#: Seconds that a stopping worker waits for messages that are being sent.
CLOSING_SECONDS = 10.0


class Monitor:
    """Sends what this worker can claim, and lets the scanner know of rounds that are complete.

    ``wake`` ends the sleep of the loop; it is called in threads. The other options are those of
    ``Scanner``.
    """

    def __init__(
        self,
        worker: Worker,
        *,
        wake: Callable[[], None] = lambda: None,
        on_round: Callable[[], None] = lambda: None,
        watching: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.deliveries = Deliveries(worker, on_result=wake)
        self.scanner = Scanner(worker, wake=wake, on_round=on_round, watching=watching)
        self._last_run: datetime | None = None

    def run_due(self, now: datetime) -> None:
        """Send once per heartbeat interval, and offer the scanner this round."""
        if has_passed(app_settings.HEARTBEAT_INTERVAL, self._last_run, now):
            self._last_run = now
            self.serve(now)
        self.scanner.offer(now)

    def send_new(self, now: datetime) -> None:
        """Send at once what this process has just left in the outbox, or has to try again."""
        if self.deliveries.wants_to_run(now):
            self.serve(now)

    def serve(self, now: datetime) -> None:
        """Send and record; what fails for another reason than an outage is logged."""
        try:
            self.deliveries.run(now)
        except AWAY:
            raise
        except Exception:
            logger.exception("messages could not be served")

    def look_again(self) -> None:
        """Look at the outbox at the next round. Safe in any thread."""
        has_new.set()

    @property
    def max_sleep(self) -> float:
        """The longest sleep of the loop in seconds: who scans does so in each interval."""
        return app_settings.HEARTBEAT_INTERVAL if self.scanner.lock.held else float("inf")

    @property
    def next_at(self) -> datetime | None:
        """When a message has to be tried again, None if this worker knows of none."""
        return self.deliveries.retry_at

    def is_sending(self, now: datetime) -> bool:
        """Send what is due; return whether anything is being sent."""
        self.serve(now)
        return self.deliveries.busy

    def close(self, now: datetime) -> None:
        """Let another worker scan, and finish what is being sent; whatever fails is logged."""
        self.scanner.stop()
        try:
            self.deliveries.close(now, seconds=CLOSING_SECONDS)
        except AWAY as error:
            logger.warning("messages are left to other workers: %s", error)
        except Exception:
            logger.exception("messages are left to other workers")
