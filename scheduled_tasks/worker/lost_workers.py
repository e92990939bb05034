"""Which workers are lost: found out by watching them, not by comparing clocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from uuid import UUID


class LostWorkerDetector:
    """Calls a worker lost when its heartbeat has stood still for a whole lease while it looked.

    Only its own monotonic clock counts, and only looks that followed each other without a break:
    after a lost connection, or a pause of the process itself, the watch begins anew. So a
    database that was away for a minute does not cost the healthy workers their executions.
    """

    def __init__(
        self, *, lease: float, max_gap: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.lease = lease
        self.max_gap = max_gap
        self.monotonic = monotonic
        self._last_observed: float | None = None
        self._since: dict[UUID, tuple[datetime, float]] = {}

    def reset(self) -> None:
        """Forget what was seen."""
        self._since.clear()

    def observe(self, beats: Mapping[UUID, datetime]) -> dict[UUID, datetime]:
        """Take in the heartbeats as they stand now; return those of the workers that are lost."""
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
