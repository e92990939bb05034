"""Whether a fork server hangs: nobody else would notice, and nothing would bound its runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

#: How long a fork server may take to load the project, in seconds.
LOAD_TIMEOUT_SECONDS = 120.0
#: A silence is measured in at least so many looks: what was frozen together with its server would
#: otherwise take its own absence for the server's.
MIN_CHECKS = 4
#: One lease may be on its way; a server that hangs owes more echoes.
MIN_OWED_ECHOES = 2


class LivenessMonitor:
    """Measures how long a fork server has not said what it owes.

    While it loads, it owes that it is ready; then an echo of each lease that it is sent. Only the
    time of ``monotonic`` between looks counts, and not more of it than a part of what is allowed.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.loaded = False
        self._monotonic = monotonic
        self._looked = monotonic()
        self._silence = 0.0
        self._owed = 0
        self._changing = threading.Lock()

    def expect_echo(self) -> None:
        """Note that the server owes another echo."""
        with self._changing:
            self._owed += 1

    def heard_from(self) -> None:
        """Note that the server is ready, or has echoed a lease."""
        with self._changing:
            self.loaded = True
            self._owed = 0
            self._silence = 0.0

    def check(self, *, lease: float, listens: bool) -> str:
        """Return why the server must be taken for hung, "" if it need not be.

        It may owe echoes for ``lease`` seconds. Nothing is held against it while nobody listens.
        """
        allowed = lease if self.loaded else LOAD_TIMEOUT_SECONDS
        now = self._monotonic()
        with self._changing:
            passed, self._looked = now - self._looked, now
            if not listens or (self.loaded and not self._owed):
                self._silence = 0.0
                return ""
            self._silence += min(passed, allowed / MIN_CHECKS)
            if self._silence < allowed:
                return ""
            if not self.loaded:
                return f"it did not load within {allowed:g} s"
            if self._owed < MIN_OWED_ECHOES:
                return ""
            return f"it has echoed none of {self._owed} leases in {allowed:g} s"
