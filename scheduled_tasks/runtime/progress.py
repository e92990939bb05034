"""How far a run has come, and what it has counted, said twice a second at most."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

from scheduled_tasks.exceptions import RunInterrupted
from scheduled_tasks.runtime.cancellation import start_uninterrupted
from scheduled_tasks.runtime.messages import Message, Progress, Recorder

Item = TypeVar("Item")

#: So many seconds lie between two messages at least.
SEND_SECONDS = 0.5


class Throttle:
    """Sends the latest of one kind of message, the last in any case; safe from any thread."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        #: Asks for the last word; None once it is sent.
        self._latest: Callable[[], Message] | None = None
        self._timer: threading.Timer | None = None
        self._sent: Message | None = None
        self._sent_at = -SEND_SECONDS
        # Re-entrant: a handler of signals may say something while its thread does.
        self._lock = threading.RLock()

    @property
    def waits(self) -> bool:
        """Say whether it will ask for the last word in a moment, without being told again."""
        return self._timer is not None

    def say(self, latest: Callable[[], Message]) -> None:
        """Send what a function returns, now or when the next message may be sent."""
        with self._lock:
            self._latest = latest
            wait = self._sent_at + SEND_SECONDS - time.monotonic()
            if wait <= 0:
                self._send()
            elif self._timer is None:
                self._timer = threading.Timer(wait, self._send_in_time)
                self._timer.daemon = True
                self._timer.name = "progress"
                start_uninterrupted(self._timer.start)

    def close(self) -> None:
        """Send the last word, if there is one that is not sent."""
        with self._lock, suppress(RunInterrupted):
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._send()

    def _send_in_time(self) -> None:
        with self._lock, suppress(RunInterrupted):  # the handler hears of that itself
            self._timer = None
            self._send()

    def _send(self) -> None:
        latest, self._latest = self._latest, None
        said = latest() if latest else self._sent
        if said is not None and said != self._sent:
            self._latest, self._sent_at = latest, time.monotonic()
            self.recorder.send(said)
            self._latest, self._sent = None, said


class ProgressLoop(Generic[Item]):
    """What ``context.progress`` makes of an iterable: the same items, and it says how many."""

    def __init__(
        self,
        pace: Throttle,
        items: Iterable[Item] | AsyncIterable[Item],
        total: float | None,
        text: str,
    ) -> None:
        self.pace = pace
        self.items = items
        self.total = length_of(items) if total is None else total
        self.text = text
        self.done = 0

    def now(self) -> Progress:
        """Return how far the loop has come."""
        return Progress(done=self.done, total=self.total, text=self.text)

    def __iter__(self) -> Iterator[Item]:
        if not isinstance(self.items, Iterable):
            raise TypeError("What is awaited item by item takes `async for`.")
        self.pace.say(self.now)
        try:
            for item in self.items:
                yield item
                self._count()
        finally:
            self.pace.say(self.now)

    async def __aiter__(self) -> AsyncIterator[Item]:
        self.pace.say(self.now)
        try:
            if isinstance(self.items, AsyncIterable):
                async for item in self.items:
                    yield item
                    self._count()
            else:
                for item in self.items:
                    yield item
                    self._count()
        finally:
            self.pace.say(self.now)

    def _count(self) -> None:
        self.done += 1
        if not self.pace.waits:
            self.pace.say(self.now)


def length_of(items: object) -> int | None:
    """Return how many there are, None where that is not known."""
    try:
        return len(items)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 -- whatever its length raises, the loop can do without
        return None
