"""What ends the sleep of a worker's loop before its time."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from contextlib import suppress


class Waiter:
    """Lets one thread sleep, and others wake it."""

    def __init__(self) -> None:
        # A queue and not an Event: a signal handler may put into it whatever the sleeper is doing.
        # What is put says whether there is something to do at once.
        self._calls: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def wake(self) -> None:
        """End the sleep; safe from any thread and in a signal handler."""
        self._calls.put(True)

    def recheck(self) -> None:
        """Let the sleeper ask anew until when it may sleep; safe likewise."""
        self._calls.put(False)

    def sleep(self, seconds: float, *, until: Callable[[], float]) -> bool:
        """Sleep so long, or until a moment of the monotonic clock; say whether the waiter rang.

        ``until`` is asked again after each ``look_up``.
        """
        end = time.monotonic() + seconds
        rang = False
        with suppress(queue.Empty):
            while not rang and (left := min(end, until()) - time.monotonic()) > 0:
                rang = self._calls.get(timeout=left)
        return rang

    def clear(self) -> bool:
        """Forget the ringing so far; say whether there was any."""
        rang = False
        with suppress(queue.Empty):
            while True:
                rang |= self._calls.get_nowait()
        return rang
