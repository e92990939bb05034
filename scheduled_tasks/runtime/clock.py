"""The engine's time: the database's time, carried forward by a monotonic clock."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta
from time import monotonic, sleep  # the functions: a handler may replace them in the module

from django.utils import timezone

from scheduled_tasks.runtime.wording import duration

logger = logging.getLogger(__name__)

MAX_SKEW = timedelta(seconds=2)


def boottime() -> float:
    """Return a monotonic time that includes sleep of the machine, the same in all processes."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return monotonic()


class Clock:
    """A clock that is set once and then does not depend on the host's wall clock."""

    def __init__(self) -> None:
        # One tuple, replaced as a whole: other threads read it without a lock.
        self._base = (timezone.now(), monotonic())
        self._warned = False

    @classmethod
    def at(cls, base: tuple[str, float]) -> Clock:
        """Return a clock that agrees with another process's, from its ``base``."""
        clock = cls()
        clock._base = (datetime.fromisoformat(base[0]), base[1])
        return clock

    @property
    def base(self) -> tuple[str, float]:
        """The argument for ``at`` in another process of this machine."""
        moment, then = self._base
        return moment.isoformat(), then

    def set(self, moment: datetime) -> None:
        self._base = (moment, monotonic())

    def now(self) -> datetime:
        """Return the current time in UTC."""
        moment, then = self._base
        return moment + timedelta(seconds=monotonic() - then)

    def wait(self, until: datetime, at_most: timedelta) -> None:
        """Sleep until a moment, but no longer than ``at_most``."""
        sleep(max(min(until - self.now(), at_most).total_seconds(), 0))

    def follow(self, database_time: datetime) -> None:
        """Set the clock to the database's time. Warn once if the host's clock is far from it."""
        self.set(database_time)
        skew = timezone.now() - database_time
        if abs(skew) > MAX_SKEW and not self._warned:
            self._warned = True
            logger.warning(
                "this host's clock differs from the database's by %s; slots follow the database's",
                duration(abs(skew.total_seconds())),
            )
