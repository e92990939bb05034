"""Scans the invariants now and then for those who scrape, whether or not alerts report them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from time import monotonic

from scheduled_tasks.models import Worker
from scheduled_tasks.models.sql.transactions import AWAY, transactional
from scheduled_tasks.monitoring.health.invariants import scan_invariants, seconds_to_settle
from scheduled_tasks.monitoring.health.violations import Violation, still_found

logger = logging.getLogger(__name__)

#: Seconds between two scans while nothing is found: a scan takes about as long as all the rest.
SCAN_SECONDS = 300.0


class InvariantScans:
    """Counts what two scans in a row have found."""

    def __init__(self, *, monotonic: Callable[[], float] = monotonic) -> None:
        self._monotonic = monotonic
        self._found: Sequence[Violation] = ()
        self._broken: Mapping[str, int] = {}
        self._scanned_at: float | None = None

    def broken(self) -> Mapping[str, int]:
        """Return the number of violations by the code of the invariant; scan again if it is time.

        What is found is looked for again as soon as workers have had time to mend it.
        """
        pause = seconds_to_settle() if self._found else SCAN_SECONDS
        if self._scanned_at is None or self._monotonic() - self._scanned_at >= pause:
            self._scanned_at = self._monotonic()
            self.scan()
        return self._broken

    def scan(self) -> None:
        """Scan; if that takes too long, keep the last numbers, and all other metrics."""
        try:
            found = scan_now()
        except AWAY as error:
            logger.warning("invariants could not be scanned for metrics: %s", error)
            return
        self._broken = Counter(violation.code for violation in still_found(self._found, found))
        self._found = found


@transactional
def scan_now(*, using: str = "") -> list[Violation]:
    return scan_invariants(Worker.objects.using(using).database_time(), using=using)
