"""Detects a fork server that hangs, which nothing else would notice and whose runs go unbounded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from scheduled_tasks.runtime.wording import duration

#: How long a fork server may take to load the project.
LOAD_TIMEOUT_SECONDS = 120.0
#: A silence is measured in at least this many checks. A worker that was frozen together with its
#: server would otherwise take its own absence for the server's.
MIN_CHECKS = 4
#: One lease may be on its way; a server that hangs owes more echoes.
MIN_OWED_ECHOES = 2


class LivenessMonitor:
    """Measures for how long a fork server has not answered.

    While the server loads, it owes the message that it is ready; after that, an echo of each lease
    that it is sent. Only the time of ``monotonic`` between checks counts, and of each interval no
    more than a fraction of what is allowed.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.loaded = False
        self._monotonic = monotonic
        self._checked = monotonic()
        self._silence = 0.0
        self._owed = 0
        self._changing = threading.Lock()

    def expect_echo(self) -> None:
        """Record that the server owes another echo."""
        with self._changing:
            self._owed += 1

    def heard_from(self) -> None:
        """Record that the server is ready, or has echoed a lease."""
        with self._changing:
            self.loaded = True
            self._owed = 0
            self._silence = 0.0

    def check(self, *, lease: float, receiving: bool) -> str:
        """Return why the server must be considered hung, "" if it is not.

        It may owe echoes for ``lease`` seconds. A silence does not count while the worker is not
        ``receiving``.
        """
        allowed = lease if self.loaded else LOAD_TIMEOUT_SECONDS
        now = self._monotonic()
        with self._changing:
            passed, self._checked = now - self._checked, now
            if not receiving or (self.loaded and not self._owed):
                self._silence = 0.0
                return ""
            self._silence += min(passed, allowed / MIN_CHECKS)
            if self._silence < allowed:
                return ""
            if not self.loaded:
                return f"it did not load within {duration(allowed)}"
            if self._owed < MIN_OWED_ECHOES:
                return ""
            return f"it has echoed none of {self._owed} leases in {duration(allowed)}"
