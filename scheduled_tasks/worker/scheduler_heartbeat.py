"""The dead man's switch: a service outside hears once a minute that a scheduler works.

No monitor can report its own death, so the service reports that it hears nothing any more. That is
why this does not go through the outbox: what is sent from there tells of the past, and may be sent
late, after a scheduler that hangs was replaced. This is only ever sent now.
"""

from __future__ import annotations

import logging
import threading
import uuid
from datetime import datetime

from scheduled_tasks.conf import app_settings
from scheduled_tasks.exceptions import ScheduledTasksError
from scheduled_tasks.models import Lock, Worker
from scheduled_tasks.monitoring.heartbeats.sending import send_sign_of_life
from scheduled_tasks.worker.maintenance import has_passed

logger = logging.getLogger(__name__)

#: Of all workers, the one that acquires this lock sends. It lets the lease expire.
LOCK_NAME, LEASE_SECONDS = "scheduled_tasks:heartbeat", 60.0
#: Seconds until a worker tries to acquire it again: the next one after the end of the lease is not
#: far away. A worker that could not send waits until another one must have tried.
RETRY_SECONDS, RETRY_SECONDS_AFTER_FAILURE = 10.0, 90.0


class SchedulerHeartbeat:
    """Sends for all workers of a database what says that one of them works.

    The main loop calls ``send_due`` at the end of a round that has reached the database. A thread
    makes the request, at most one at a time, so that a network that hangs slows nothing down.
    """

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self._failed = False
        self._tried_at: datetime | None = None
        self._thread: threading.Thread | None = None

    def send_due(self, now: datetime) -> None:
        """Send, unless there is no address, or some worker has sent within the last minute."""
        url = app_settings.HEARTBEAT_URL
        if not url or self.is_sending or not has_passed(self.retry_seconds, self._tried_at, now):
            return
        self._tried_at = now
        if self.acquire():
            self._thread = threading.Thread(
                target=self.send, args=(url,), name="scheduler-heartbeat", daemon=True
            )
            self._thread.start()

    @property
    def is_sending(self) -> bool:
        """Whether an earlier request has not ended."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def retry_seconds(self) -> float:
        """The seconds between two attempts to acquire the lock."""
        return RETRY_SECONDS_AFTER_FAILURE if self._failed else RETRY_SECONDS

    def acquire(self) -> bool:
        """Acquire the lock, by the database's time."""
        # With a token of its own, since a holder that asks again would get it again.
        lock = Lock(name=LOCK_NAME, token=uuid.uuid4().hex, holder=self.worker.label)
        return Lock.objects.acquire(lock, lease=LEASE_SECONDS, longest=LEASE_SECONDS)

    def send(self, url: str) -> None:
        """Make the request; log what fails."""
        try:
            send_sign_of_life(url)
        except ScheduledTasksError as error:
            self._failed = True
            logger.warning("the heartbeat of the scheduler could not be sent: %s", error)
        except Exception:
            self._failed = True
            logger.exception("the heartbeat of the scheduler could not be sent")
        else:
            self._failed = False
