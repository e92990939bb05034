"""What one attempt writes on its handler's own connection: once keys, and checkpoints.

``executors.attempt_store`` keeps them in the database. ``InMemoryAttemptStore`` serves a context
that a test has made by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol


class Key(Protocol):
    """One key, which at most one run can hold or have used up."""

    def acquire(self) -> bool:
        """Acquire it. Return whether the caller holds it now."""

    def use_up(self, ttl: timedelta | None) -> None:
        """Keep it used up for ``ttl``, or for ever. Raise LeaseLost if another run holds it."""

    def release(self) -> None:
        """Release it, as after a failure."""


class AttemptStore(Protocol):
    """Writes of one attempt, accepted until the attempt has ended."""

    @property
    def pending(self) -> bool:
        """Whether this thread's open transaction holds a checkpoint that is not committed yet."""

    def checkpoint(self, value: Any, show: Callable[[], None]) -> None:
        """Write a checkpoint in the open transaction; call ``show`` after the commit.

        Raise WrongTransaction outside a transaction, LeaseLost if the attempt has ended.
        """

    def key(self, key: str) -> Key:
        """Return a key of the task, not acquired yet."""


class InMemoryAttemptStore:
    """Keeps keys in memory."""

    pending = False

    def __init__(self) -> None:
        self._held: set[str] = set()

    def checkpoint(self, value: Any, show: Callable[[], None]) -> None:
        show()

    def key(self, key: str) -> Key:
        """Return a key that is held until it is released."""
        return InMemoryKey(key, self._held)


class InMemoryKey:
    """A key among others that are held."""

    def __init__(self, key: str, held: set[str]) -> None:
        self._key = key
        self._held = held

    def acquire(self) -> bool:
        free = self._key not in self._held
        self._held.add(self._key)
        return free

    def use_up(self, ttl: timedelta | None) -> None:
        """Leave it held."""

    def release(self) -> None:
        self._held.discard(self._key)
