"""Lanes of the outbox whose threads hang: a worker leaves them, and tries them again later."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from threading import Thread

from scheduled_tasks.runtime.wording import duration

logger = logging.getLogger(__name__)

#: Threads that may hang in one lane before this worker leaves the lane to others.
MAX_STUCK_THREADS = 3
#: A lane that was left gets one more thread after these seconds, until as many hang in it.
RETRY_LANE_SECONDS, MAX_THREADS = 300.0, 10
#: A lane that was left for so long is hopeless: what is too old there is given up.
HOPELESS_SECONDS = 3_600.0
LEFT = (
    "%s is left, because %d threads hang in it: give its receiver a timeout, and restart this "
    "worker. Until then it tries one more thread every %s, up to %d, and gives up what is too old"
)


@dataclass(slots=True)
class StuckLane:
    """The threads that hang in one lane, and by the monotonic clock since when it has been left."""

    threads: list[Thread] = field(default_factory=list)
    last_stuck_at: float = 0.0
    left_at: float | None = None

    def is_closed(self, moment: float) -> bool:
        """Whether it gets no further thread for now."""
        hanging = len(self.threads)
        waits = moment - self.last_stuck_at < RETRY_LANE_SECONDS
        return hanging >= MAX_THREADS or (hanging >= MAX_STUCK_THREADS and waits)

    def is_hopeless(self, moment: float) -> bool:
        """Whether it is closed, and has been left for long."""
        is_old = self.left_at is not None and moment - self.left_at >= HOPELESS_SECONDS
        return is_old and self.is_closed(moment)


class StuckLanes:
    """The lanes in which threads hang, by name; ``moment`` is by the monotonic clock."""

    def __init__(self) -> None:
        self._lanes: dict[str, StuckLane] = {}

    def add(self, name: str, thread: Thread, moment: float) -> None:
        """Count a thread that hangs; if there are too many, leave the lane, and say so once."""
        self.forget_ended()
        lane = self._lanes.setdefault(name, StuckLane())
        lane.threads.append(thread)
        lane.last_stuck_at = moment
        if lane.left_at is None and len(lane.threads) >= MAX_STUCK_THREADS:
            lane.left_at = moment
            logger.error(LEFT, name, len(lane.threads), duration(RETRY_LANE_SECONDS), MAX_THREADS)

    def closed(self, moment: float) -> set[str]:
        """Return the lanes that get no further thread for now."""
        self.forget_ended()
        return {name for name, lane in self._lanes.items() if lane.is_closed(moment)}

    def hopeless(self, moment: float) -> set[str]:
        """Return the lanes that have been left for long, and have not recovered."""
        self.forget_ended()
        return {name for name, lane in self._lanes.items() if lane.is_hopeless(moment)}

    def forget_ended(self) -> None:
        """Forget the threads that have ended, and the lanes in which none hangs any more."""
        for lane in self._lanes.values():
            lane.threads = [thread for thread in lane.threads if thread.is_alive()]
        self._lanes = {name: lane for name, lane in self._lanes.items() if lane.threads}
