"""The way into a running handler for who wants it to stop."""

from __future__ import annotations

import asyncio
import ctypes
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import TypeVar

from scheduled_tasks.exceptions import RunInterrupted

T = TypeVar("T")
#: Of the run that is being made here.
current: ContextVar[Cancellation] = ContextVar("cancellation")


class Cancellation:
    """Whether one run has to stop, and why; raises that inside its handler.

    ``request`` may be called from any thread, and from a signal handler of the handler's own. The
    exception reaches a handler between two steps of its Python code, one that sleeps or waits
    only where a signal wakes it; an ``async`` handler is cancelled at its next ``await``.
    """

    def __init__(self) -> None:
        self.error: type[RunInterrupted] | None = None
        self.reason = ""
        # Re-entrant: a signal may come while the thread that it interrupts holds it.
        self._lock = threading.RLock()
        self._thread: int | None = None
        self._raised_from_afar = False
        self._ended = False
        self._cancel_task: Callable[[], object] | None = None
        self._shields = 0
        self._deferred = False

    @property
    def requested(self) -> bool:
        """Say whether the run has to stop."""
        return self.error is not None

    def request(self, error: type[RunInterrupted], reason: str) -> None:
        """Ask the run to stop, for a reason that is a sentence. Asked again, it is raised again.

        The reason given first stays; a handler that has ended is asked in vain. Where the handler
        runs in the calling thread, which then is in a signal handler, it is raised right here.
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
                raise self.error(self.reason)
            elif self._thread is not None:
                self._raised_from_afar = True
                raise_in(self._thread, self.error)

    def call(self, function: Callable[[], T]) -> T:
        """Call a function that may be interrupted, and let nothing that comes after it be."""
        token = current.set(self)
        self._thread = threading.get_ident()
        try:
            self.check()
            return function()
        finally:
            # One step, and the first: what a signal requests after it changes nothing.
            self._ended = True
            self._settle()
            current.reset(token)

    async def awaited(self, result: Awaitable[T]) -> T:
        """Await what may be cancelled."""
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        if task is not None:
            self._cancel_task = lambda: loop.call_soon_threadsafe(task.cancel)
        try:
            self.check()
            return await result
        finally:
            with self._lock:
                self._cancel_task = None

    def check(self) -> None:
        """Raise what was requested, if anything was."""
        if self.error is not None:
            raise self.error(self.reason)

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Let nothing interrupt the handler's thread inside; what was requested is raised after."""
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

    def _settle(self) -> None:
        """Let nothing that another thread has just requested surface after the call."""
        with self._lock:
            self._thread = None
        if self._raised_from_afar:
            swallow_pending()


def start_uninterrupted(start: Callable[[], None]) -> None:
    """Start a thread from within a run, if it is within one, which nothing interrupts meanwhile.

    The interpreter takes a thread for the one that starts it until it goes on by itself: what is
    raised in the one may kill the other, for which the first would wait for ever.
    """
    cancellation = current.get(None)
    with cancellation.shielded() if cancellation else nullcontext():
        start()


class PendingError(RunInterrupted):
    """Takes the place of what is still to be raised in a thread."""


def raise_in(thread: int, error: type[BaseException]) -> None:
    """Raise an exception in a thread at its next step, in place of one not yet raised there."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))


def swallow_pending() -> None:
    """Let nothing that was raised from another thread surface in this one after this.

    Taking it back, as the interpreter offers, leaves its threads looking for it at each step.
    """
    surfaced = False
    while not surfaced:
        try:
            raise_in(threading.get_ident(), PendingError)
            while True:
                pass
        except PendingError:
            surfaced = True
        except RunInterrupted:
            continue
