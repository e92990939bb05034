"""``context.once``: a block of code that is run once for each key."""

from __future__ import annotations

from datetime import timedelta
from types import TracebackType

from asgiref.sync import sync_to_async

from scheduled_tasks.exceptions import InvalidName
from scheduled_tasks.runtime.attempt_store import Key
from scheduled_tasks.runtime.sanitizing import safe_repr, sanitized_text

#: The maximum length of a key.
KEY_LENGTH = 200
#: Every database can store a moment this far ahead.
MAX_TTL = timedelta(days=36_500)


class OnceBlock:
    """A ``with`` or ``async with`` block that receives whether it is the first for its key."""

    def __init__(self, key: Key, ttl: timedelta | None) -> None:
        self._key = key
        self._ttl = ttl
        self._first = False

    def __enter__(self) -> bool:
        """Acquire the key. Return whether the block is the first."""
        self._first = self._key.acquire()
        return self._first

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Use the key up, or release it after an exception."""
        if not self._first:
            return
        if kind is None:
            self._key.use_up(self._ttl)
        else:
            self._key.release()

    async def __aenter__(self) -> bool:
        """Acquire the key on the connection that synchronous parts of the handler use."""
        return await sync_to_async(self.__enter__)()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Use the key up, or release it after an exception."""
        await sync_to_async(self.__exit__)(kind, error, trace)


def checked_text(what: str, text: str) -> str:
    """Return a key or a name that every database can store. Raise InvalidName for another."""
    fits = isinstance(text, str) and 0 < len(text) <= KEY_LENGTH and sanitized_text(text) == text
    if not fits:
        shown = safe_repr(text, limit=100)
        raise InvalidName(f"A {what} is text of 1 to {KEY_LENGTH} characters, not {shown}.")
    return text


def checked_ttl(ttl: float | timedelta | None) -> timedelta | None:
    """Return how long a key stays used up. Raise ValueError for a ttl of 0, or too long."""
    if ttl is None:
        return None
    seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    is_number = isinstance(seconds, int | float)
    if not (is_number and 0 < seconds <= MAX_TTL.total_seconds()):
        shown = str(ttl) if isinstance(ttl, timedelta) else safe_repr(ttl, limit=100)
        raise ValueError(
            f"A ttl is more than 0 seconds and at most {MAX_TTL.days} days, not {shown}. "
            "Without a ttl the key is used up for ever."
        )
    return timedelta(seconds=seconds)
