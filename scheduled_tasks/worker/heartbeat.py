"""The thread that keeps a worker's row alive while the worker is busy with other things."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime

from django.db import Error, close_old_connections, connections

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models import Worker
from scheduled_tasks.runtime.clock import Clock, lifetime

logger = logging.getLogger(__name__)

#: So much of a lease is left when the runs that depend on it are ended: time to see them dead.
KILL_MARGIN_LEASES = 1 / 6
#: In between, in seconds, the clock goes on from the database's time by itself.
CLOCK_READ_SECONDS = 60.0


class Heartbeat:
    """Beats for one worker, from a thread of its own once ``start`` is called.

    ``lost`` turns true when another worker has given this one up and taken its executions; it
    never turns false again. ``stale`` says that no beat got through for so long that this may be
    so: a process that was frozen, or cut off from its database, must beat before it goes on.
    ``on_beat`` is told after each beat until when, by ``lifetime()``, nobody may take what this
    worker holds; that is some time before anybody will. ``on_lost`` is called when it is ``lost``.
    """

    def __init__(
        self,
        worker: Worker,
        clock: Clock,
        *,
        on_beat: Callable[[float], None] = lambda until: None,
        on_lost: Callable[[], None] = lambda: None,
        watching: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.worker = worker
        self.clock = clock
        self.on_beat = on_beat
        self.on_lost = on_lost
        self.watching = watching
        self.lost = False
        self._last_beat = lifetime()
        self._next_reading = self._last_beat
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Say whether the thread beats."""
        return self._thread is not None

    @property
    def stale(self) -> bool:
        """Say whether the last beat is half a lease ago or longer."""
        return lifetime() - self._last_beat > app_settings.LEASE / 2

    def start(self) -> None:
        """Begin to beat every HEARTBEAT_INTERVAL seconds."""
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop beating and wait for the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=app_settings.HEARTBEAT_INTERVAL)

    def beat(self, now: datetime | None = None) -> None:
        """Beat once and set the clock, by the database unless the caller says what time it is.

        Raises what the database raises.
        """
        begun = lifetime()
        if now is not None:
            self.clock.set(now)
        elif begun >= self._next_reading:
            self._next_reading = begun + CLOCK_READ_SECONDS
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
                while not self._stop.wait(app_settings.HEARTBEAT_INTERVAL):
                    self._try_to_beat()
        finally:
            connections.close_all()

    def _try_to_beat(self) -> None:
        try:
            close_old_connections()
            self.beat()
        except Error as error:
            logger.warning("heartbeat failed, tried again: %s", error)
            connections.close_all()
