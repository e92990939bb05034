"""What a run must not do twice: the block round it, and who keeps what was done."""

from __future__ import annotations

from datetime import timedelta
from types import TracebackType

from asgiref.sync import sync_to_async

from scheduled_tasks.runtime.attempt_store import Key
from scheduled_tasks.runtime.sanitizing import sanitized_text

#: Characters of a key.
KEY_LENGTH = 200
#: What adds up to a moment that every database can hold.
MAX_TTL = timedelta(days=36_500)


class OnceBlock:
    """A ``with`` or ``async with`` block that is told whether it is the first for its key."""

    def __init__(self, key: Key, ttl: timedelta | None) -> None:
        self._key = key
        self._ttl = ttl
        self._first = False

    def __enter__(self) -> bool:
        """Take the key; say whether the block is the first."""
        self._first = self._key.acquire()
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
            self._key.use_up(self._ttl)
        else:
            self._key.release()

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
    fits = isinstance(text, str) and 0 < len(text) <= KEY_LENGTH and sanitized_text(text) == text
    if not fits:
        shown = repr(text)[:100]
        raise ValueError(f"A {what} is text of 1 to {KEY_LENGTH} characters, not {shown}.")
    return text


def checked_ttl(ttl: float | timedelta | None) -> timedelta | None:
    """Return for how long a key is used up. Raise ValueError for no time at all, or too much."""
    if ttl is None:
        return None
    seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    if not 0 < seconds <= MAX_TTL.total_seconds():
        raise ValueError(
            f"A ttl is above 0 seconds and at most {MAX_TTL.days} days, not {ttl}; "
            "without one the key is used up for ever."
        )
    return timedelta(seconds=seconds)
