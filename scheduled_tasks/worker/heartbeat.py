"""The thread that keeps the row of a worker fresh while its loop is busy."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime

from django.db import close_old_connections, connections, reset_queries

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models import Worker
from scheduled_tasks.models.sql.transactions import is_unusable
from scheduled_tasks.runtime.clock import Clock, boottime

logger = logging.getLogger(__name__)

#: Runs end when this part of their lease is left: time to make sure that they are dead.
KILL_MARGIN_LEASES = 1 / 6
#: Seconds between two readings of the database's clock.
CLOCK_READ_SECONDS = 60.0


class Heartbeat:
    """Beats for one worker; from a thread of its own after ``start``.

    ``lost`` becomes true when another worker has given this one up and taken its executions, and
    stays true. ``stale`` means that this may have happened: after a process was frozen, or cut off
    from its database, it must beat before it does anything else.

    ``on_beat`` is called after each beat with the time, by ``boottime()``, at which the runs of
    this worker must have ended. Other workers take over somewhat later. ``on_lost`` is called when
    the worker is lost, ``on_round`` when the thread starts and before each of its attempts to beat.
    """

    def __init__(
        self,
        worker: Worker,
        clock: Clock,
        *,
        on_beat: Callable[[float], None] = lambda until: None,
        on_lost: Callable[[], None] = lambda: None,
        on_round: Callable[[], None] = lambda: None,
        watching: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.worker = worker
        self.clock = clock
        self.on_beat = on_beat
        self.on_lost = on_lost
        self.on_round = on_round
        self.watching = watching
        self.lost = False
        #: What the thread has found to be wrong with the database, if waiting does not help.
        self.problem: Exception | None = None
        self._last_beat = boottime()
        self._next_reading = self._last_beat
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether the thread was started."""
        return self._thread is not None

    @property
    def stale(self) -> bool:
        """Whether the last beat was more than half a lease ago."""
        return boottime() - self._last_beat > app_settings.LEASE / 2

    def start(self) -> None:
        """Start the thread: beat every HEARTBEAT_INTERVAL seconds."""
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and wait for it."""
        self._stop.set()
        if self._thread is not None:
            # It may be waiting for a database that does not answer.
            self._thread.join(timeout=app_settings.HEARTBEAT_INTERVAL)

    def beat(self, now: datetime | None = None) -> None:
        """Beat once, and set the clock to ``now``, by default to the database's time.

        Database errors propagate.
        """
        # Taken before the beat is written: other workers count the lease from a later moment.
        begun = boottime()
        if now is not None:
            self.clock.set(now)
        elif begun >= self._next_reading:
            self._next_reading = begun + CLOCK_READ_SECONDS
            # Not read by the beat: its UPDATE may wait for the row, and the moment would be old.
            if (moment := self.worker.database_time()) is not None:
                self.clock.follow(moment)
        if not self.worker.beat(self.clock.now()):
            self.lost = True
            self.on_lost()
            return
        self._last_beat = begun
        self.on_beat(begun + app_settings.LEASE * (1 - KILL_MARGIN_LEASES))

    def _run(self) -> None:
        try:
            with self.watching():
                self.on_round()
                while not self._stop.wait(app_settings.HEARTBEAT_INTERVAL):
                    self.on_round()
                    self._try_to_beat()
        finally:
            connections.close_all()

    def _try_to_beat(self) -> None:
        try:
            close_old_connections()
            reset_queries()  # which Django keeps under DEBUG
            self.beat()
        except Exception as error:  # noqa: BLE001 -- without it, the worker is taken for lost
            if is_unusable(error):
                self.problem = error
                self.on_lost()  # the loop may have an older connection, to a file that was removed
            logger.warning("heartbeat failed, trying again: %s", str(error) or repr(error))
            connections.close_all()
