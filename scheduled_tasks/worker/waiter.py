"""The sleep of a worker's loop, and what ends it early."""

from __future__ import annotations

import queue
from collections.abc import Callable
from contextlib import suppress
from time import monotonic


class Waiter:
    """Lets one thread sleep and others wake it."""

    def __init__(self) -> None:
        # A SimpleQueue is safe in a signal handler. An Event is not: the handler may interrupt its
        # own thread inside the lock. True means wake up, False means call ``until`` again.
        self._calls: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def wake(self) -> None:
        """End the sleep. Safe in any thread and in a signal handler."""
        self._calls.put(True)

    def recheck(self) -> None:
        """Make the sleeper call ``until`` again. Safe in any thread and in a signal handler."""
        self._calls.put(False)

    def sleep(self, seconds: float, *, until: Callable[[], float]) -> bool:
        """Sleep for seconds, or until ``until()`` by the monotonic clock; return whether woken."""
        end = monotonic() + seconds
        woken = False
        with suppress(queue.Empty):
            while not woken and (left := min(end, until()) - monotonic()) > 0:
                woken = self._calls.get(timeout=left)
        return woken

    def clear(self) -> bool:
        """Forget earlier calls; return whether one of them was ``wake``."""
        woken = False
        with suppress(queue.Empty):
            while True:
                woken |= self._calls.get_nowait()
        return woken
