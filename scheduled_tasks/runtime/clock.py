"""The time that the engine goes by: the database's, carried on by a monotonic clock."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta

from django.utils import timezone

logger = logging.getLogger(__name__)

MAX_SKEW = timedelta(seconds=2)


def lifetime() -> float:
    """Return seconds that go on while the machine sleeps, the same in all its processes."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Clock:
    """Tells the time since it was last set, whatever happens to the host's wall clock."""

    def __init__(self) -> None:
        self._base = (timezone.now(), time.monotonic())
        self._warned = False

    @classmethod
    def at(cls, base: tuple[str, float]) -> Clock:
        """Return a clock that goes with another process's, by what its ``base`` says."""
        clock = cls()
        clock._base = (datetime.fromisoformat(base[0]), base[1])
        return clock

    @property
    def base(self) -> tuple[str, float]:
        """Return what ``at`` takes in another process of this machine."""
        moment, then = self._base
        return moment.isoformat(), then

    def set(self, moment: datetime) -> None:
        """Go on from this moment."""
        self._base = (moment, time.monotonic())

    def now(self) -> datetime:
        """Return the moment last set plus the time that has passed since, in UTC."""
        moment, then = self._base
        return moment + timedelta(seconds=time.monotonic() - then)

    def wait(self, until: datetime, at_most: timedelta) -> None:
        """Sleep until a moment, and never longer than so long."""
        time.sleep(max(min(until - self.now(), at_most).total_seconds(), 0))

    def follow(self, database_time: datetime) -> None:
        """Go on from the database's time; warn once where the host's clock is far from it."""
        self.set(database_time)
        skew = timezone.now() - database_time
        if abs(skew) > MAX_SKEW and not self._warned:
            self._warned = True
            logger.warning(
                "this host's clock differs from the database's by %.1f s; slots follow the "
                "database's",
                skew.total_seconds(),
            )
