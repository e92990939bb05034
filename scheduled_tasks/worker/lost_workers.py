"""Which workers are lost: found by observation, not by comparing clocks of hosts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from time import monotonic
from uuid import UUID


class LostWorkerDetector:
    """Finds workers whose heartbeat has not changed during a whole lease of observation.

    Times are taken from the monotonic clock of the observer, never compared between hosts. A break
    in the observation, after a lost connection or a pause of this process, starts it again. So a
    database outage of a minute does not cost healthy workers their executions.
    """

    def __init__(
        self, *, lease: float, max_gap: float, monotonic: Callable[[], float] = monotonic
    ) -> None:
        self.lease = lease
        self.max_gap = max_gap
        self.monotonic = monotonic
        self._last_observed: float | None = None
        self._since: dict[UUID, tuple[datetime, float]] = {}

    def reset(self) -> None:
        """Start the observation again."""
        self._since.clear()

    def observe(self, beats: Mapping[UUID, datetime]) -> dict[UUID, datetime]:
        """Observe the present heartbeats; return those of lost workers."""
        now = self.monotonic()
        if self._last_observed is not None and now - self._last_observed > self.max_gap:
            self.reset()
        self._last_observed = now
        seen = {worker: self._since.get(worker, (beat, now)) for worker, beat in beats.items()}
        self._since = {
            worker: known if known[0] == beats[worker] else (beats[worker], now)
            for worker, known in seen.items()
        }
        return {
            worker: beat
            for worker, (beat, since) in self._since.items()
            if now - since >= self.lease
        }
