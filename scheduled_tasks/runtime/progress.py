"""Sends how far a run has come, and what it has counted, at most twice a second."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from time import monotonic
from typing import Generic, TypeVar

from scheduled_tasks.exceptions import RunInterrupted
from scheduled_tasks.runtime.cancellation import start_uninterrupted
from scheduled_tasks.runtime.messages import Message, Progress, Recorder

Item = TypeVar("Item")

#: At least this long between two messages.
SEND_SECONDS = 0.5


class Throttle:
    """Sends the latest of one kind of message, the last one in any case. Safe from any thread."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        #: Returns the latest message; None once that is sent.
        self._latest: Callable[[], Message] | None = None
        self._timer: threading.Timer | None = None
        self._sent: Message | None = None
        # So that the first is sent at once, even if the monotonic clock has just begun at 0.
        self._sent_at = -SEND_SECONDS
        # Re-entrant: a signal handler may update while the thread that it interrupts does.
        self._lock = threading.RLock()

    @property
    def scheduled(self) -> bool:
        """Whether the latest message is going to be sent without another ``update``."""
        return self._timer is not None

    def update(self, latest: Callable[[], Message]) -> None:
        """Send what a function returns, now or as soon as the next message may be sent."""
        with self._lock:
            self._latest = latest
            wait = self._sent_at + SEND_SECONDS - monotonic()
            if wait <= 0:
                self._send()
            elif self._timer is None:
                self._start_timer(wait)

    def close(self) -> None:
        """Send the latest message, if it has not been sent."""
        with self._lock, suppress(RunInterrupted):
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._send()

    def _start_timer(self, seconds: float) -> None:
        timer = threading.Timer(seconds, self._send_later)
        timer.daemon = True
        timer.name = "progress"
        # Without a thread, the next update sends the message, or the end of the run does.
        with suppress(RuntimeError):
            start_uninterrupted(timer.start)
            self._timer = timer

    def _send_later(self) -> None:
        with self._lock, suppress(RunInterrupted):  # the handler is interrupted itself
            self._timer = None
            self._send()

    def _send(self) -> None:
        latest, self._latest = self._latest, None
        message = latest() if latest else self._sent
        if message is not None and message != self._sent:
            # Kept until it is sent: an interruption may come in between.
            self._latest, self._sent_at = latest, monotonic()
            self.recorder.send(message)
            self._latest, self._sent = None, message


class ProgressLoop(Generic[Item]):
    """What ``context.progress`` returns for an iterable: the same items, which it counts."""

    def __init__(
        self,
        throttle: Throttle,
        items: Iterable[Item] | AsyncIterable[Item],
        total: float | None,
        text: str,
    ) -> None:
        self.throttle = throttle
        self.items = items
        self.total = length_of(items) if total is None else total
        self.text = text
        self.done = 0

    def now(self) -> Progress:
        """Return the progress of the loop."""
        return Progress(done=self.done, total=self.total, text=self.text)

    def __iter__(self) -> Iterator[Item]:
        if not isinstance(self.items, Iterable):
            raise TypeError("Use `async for` with an asynchronous iterable.")
        self.throttle.update(self.now)
        try:
            for item in self.items:
                yield item
                self._count()
        finally:
            self.throttle.update(self.now)

    async def __aiter__(self) -> AsyncIterator[Item]:
        self.throttle.update(self.now)
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
            self.throttle.update(self.now)

    def _count(self) -> None:
        self.done += 1
        # The message that is going to be sent reads the count when it is sent.
        if not self.throttle.scheduled:
            self.throttle.update(self.now)


def length_of(items: object) -> int | None:
    """Return the number of items, None if it is not known."""
    try:
        return len(items)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 -- the loop works without it, whatever __len__ raises
        return None
