"""Interrupts a running handler that has to stop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import TypeVar

from scheduled_tasks.exceptions import RunInterrupted
from scheduled_tasks.runtime.cpython_internals import discard_raised, raise_in

T = TypeVar("T")
#: The cancellation of the run in this context.
current: ContextVar[Cancellation] = ContextVar("cancellation")


class Cancellation:
    """Whether one run has to stop, and why. Raises the reason inside its handler.

    ``request`` may be called from any thread, and from a signal handler in the handler's thread.
    The exception is raised between two bytecode instructions, so a handler that sleeps or waits
    receives it only if a signal wakes it. An ``async`` handler is cancelled at its next ``await``.
    """

    def __init__(self, look_for_request: Callable[[], object] = lambda: None) -> None:
        #: Calls ``accept`` if the run has been asked to stop, but no signal has told it.
        self.look_for_request = look_for_request
        self.error: type[RunInterrupted] | None = None
        self.reason = ""
        # Re-entrant: a signal may arrive while the thread that it interrupts holds it.
        self._lock = threading.RLock()
        self._thread: int | None = None
        self._raised_from_afar = False
        self._ended = False
        self._cancel_task: Callable[[], object] | None = None
        self._shields = 0
        self._deferred = False

    @property
    def requested(self) -> bool:
        """Whether the run has to stop."""
        return self.error is not None

    def request(
        self,
        error: type[RunInterrupted],
        reason: str,
        *,
        raised: type[BaseException] | None = None,
    ) -> None:
        """Ask the run to stop, for a reason that is a sentence. A second call raises it again.

        The first reason is kept. After the handler has ended, nothing happens. If the handler runs
        in the calling thread, which then is in a signal handler, the exception is raised here, or
        ``raised`` in its place.
        """
        with self._lock:
            if self._ended:
                return
            if self.error is None:
                self.error, self.reason = error, reason
            if self._cancel_task is not None:
                self._cancel_task()
            elif self._shields:
                self._deferred = True
            elif self._thread == threading.get_ident():
                raise (raised or self.error)(self.reason)
            elif self._thread is not None:
                self._raised_from_afar = True
                # It raises a class: the reason is read from here when the run has ended.
                raise_in(self._thread, self.error)

    def accept(self, error: type[RunInterrupted], reason: str) -> None:
        """Record that the run has to stop, and raise nothing. The first reason is kept."""
        with self._lock:
            if self.error is None and not self._ended:
                self.error, self.reason = error, reason

    def call(self, function: Callable[[], T]) -> T:
        """Call a function that may be interrupted. Nothing is interrupted after it has returned."""
        token = current.set(self)
        # Before the check: a request in between reaches the thread.
        self._thread = threading.get_ident()
        try:
            self.check()
            return function()
        finally:
            # First, and atomic: requests from signal handlers have no effect from here on.
            self._ended = True
            self._discard_pending()
            current.reset(token)

    async def awaited(self, result: Awaitable[T]) -> T:
        """Await a result; a request cancels it."""
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        if task is not None:
            # Before the check, as in ``call``.
            self._cancel_task = lambda: loop.call_soon_threadsafe(task.cancel)
        try:
            self.check()
            return await result
        finally:
            with self._lock:
                self._cancel_task = None

    def check(self) -> None:
        """Raise the requested exception, if there is one."""
        if self.error is not None:
            raise self.error(self.reason)

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Do not interrupt the handler's thread inside this block; raise requests after it."""
        # No other thread is ever interrupted.
        if threading.get_ident() != self._thread:
            yield
            return
        with self._lock:
            self._shields += 1
        try:
            yield
        finally:
            with self._lock:
                self._shields -= 1
                deferred, self._deferred = self._deferred, False
        if deferred:
            self.check()

    def _discard_pending(self) -> None:
        """Discard an exception that another thread has requested and that is not raised yet."""
        with self._lock:
            self._thread = None
        if self._raised_from_afar:
            discard_raised()


def start_uninterrupted(start: Callable[[], None]) -> None:
    """Start a thread; inside a run, without an interruption meanwhile.

    Until a new thread runs on its own, the interpreter confuses it with the one that starts it.
    An exception raised for the one may kill the other, and ``start`` would wait for it for ever.
    """
    cancellation = current.get(None)
    with cancellation.shielded() if cancellation else nullcontext():
        start()
