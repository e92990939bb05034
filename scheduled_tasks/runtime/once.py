"""What a run must not do twice: the block round it, and who keeps what was done."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Any, Protocol

from asgiref.sync import sync_to_async

from scheduled_tasks.runtime.sanitizing import storable_text

#: Characters of a key.
KEY_LENGTH = 200
#: What adds up to a moment that every database can hold.
LONGEST_TTL = timedelta(days=36_500)


class Key(Protocol):
    """One key, which at most one run may hold or have used up."""

    def take(self) -> bool:
        """Take it; say whether the caller holds it now."""

    def finish(self, ttl: timedelta | None) -> None:
        """Use it up, for so long or for ever. Raise LeaseLost if somebody else has taken it."""

    def free(self) -> None:
        """Give it back, as after a failure."""


class Ledger(Protocol):
    """What one attempt writes on its handler's own connection, as long as it is not over."""

    @property
    def pending(self) -> bool:
        """Say whether a checkpoint waits for the end of the transaction that this thread is in."""

    def checkpoint(self, value: Any, show: Callable[[], None]) -> None:
        """Write a checkpoint as part of the open transaction; call ``show`` once it is committed.

        Raise WrongTransaction where none is open, LeaseLost if the attempt is over.
        """

    def key(self, key: str) -> Key:
        """Return a key of the task's, to be taken."""


class NoLedger:
    """Keeps keys in memory, as of a context that a test has made by hand."""

    pending = False

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def checkpoint(self, value: Any, show: Callable[[], None]) -> None:
        """Show it at once."""
        show()

    def key(self, key: str) -> Key:
        """Return a key that is taken until it is freed."""
        return KeyInMemory(key, self._taken)


class KeyInMemory:
    """A key among others that are taken."""

    def __init__(self, key: str, taken: set[str]) -> None:
        self._key = key
        self._taken = taken

    def take(self) -> bool:
        """Take it; say whether nobody had."""
        free = self._key not in self._taken
        self._taken.add(self._key)
        return free

    def finish(self, ttl: timedelta | None) -> None:
        """Leave it taken."""

    def free(self) -> None:
        """Give it back."""
        self._taken.discard(self._key)


class OnceBlock:
    """A ``with`` or ``async with`` block that is told whether it is the first for its key."""

    def __init__(self, key: Key, ttl: timedelta | None) -> None:
        self._key = key
        self._ttl = ttl
        self._first = False

    def __enter__(self) -> bool:
        """Take the key; say whether the block is the first."""
        self._first = self._key.take()
        return self._first

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Use the key up, or free it after an exception."""
        if not self._first:
            return
        if kind is None:
            self._key.finish(self._ttl)
        else:
            self._key.free()

    async def __aenter__(self) -> bool:
        """Take the key on the connection that synchronous parts of the handler use."""
        return await sync_to_async(self.__enter__)()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Use the key up, or free it after an exception."""
        await sync_to_async(self.__exit__)(kind, error, trace)


def checked_text(what: str, text: str) -> str:
    """Return a key or a name that every database can store. Raise ValueError for another."""
    fits = isinstance(text, str) and 0 < len(text) <= KEY_LENGTH and storable_text(text) == text
    if not fits:
        shown = repr(text)[:100]
        raise ValueError(f"A {what} is text of 1 to {KEY_LENGTH} characters, not {shown}.")
    return text


def checked_ttl(ttl: float | timedelta | None) -> timedelta | None:
    """Return for how long a key is used up. Raise ValueError for no time at all, or too much."""
    if ttl is None:
        return None
    seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    if not 0 < seconds <= LONGEST_TTL.total_seconds():
        raise ValueError(
            f"A ttl is above 0 seconds and at most {LONGEST_TTL.days} days, not {ttl}; "
            "without one the key is used up for ever."
        )
    return timedelta(seconds=seconds)
