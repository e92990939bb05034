"""What all schedules have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import UTC, datetime

EARLIEST = datetime(1, 1, 3, tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)


class Schedule(ABC):
    """Base of the schedules, which are immutable values: equal if they say the same.

    ``str(schedule)`` is the text that is stored; ``parse`` makes an equal value from it.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def text(self) -> str:
        """Return the canonical text, which fits one field of a form or table."""

    @property
    @abstractmethod
    def timezone(self) -> str:
        """Return the IANA name of the zone that the text is meant in."""

    @abstractmethod
    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first slot strictly after ``moment``, in UTC, or None if there is none.

        Raise ValueError for a moment without a time zone.
        """

    @abstractmethod
    def describe(self) -> str:
        """Say in English when the slots are."""

    def upcoming(self, n: int, *, after: datetime) -> list[datetime]:
        """Return the first ``n`` slots strictly after a moment, fewer if the schedule ends."""
        slots: list[datetime] = []
        slot: datetime | None = after
        while slot is not None and len(slots) < n:
            slot = self.next_after(slot)
            if slot is not None:
                slots.append(slot)
        return slots

    def __str__(self) -> str:
        return self.text


def in_utc(moment: datetime) -> datetime:
    """Return the moment in UTC; raise ValueError if it has no time zone.

    The first days of the year 1 all become their end, so that offsets can be added to the result.
    """
    if moment.utcoffset() is None:
        raise ValueError(f"The moment {moment} has no time zone: pass an aware datetime.")
    try:
        return max(moment.astimezone(UTC), EARLIEST)
    except OverflowError:
        return EARLIEST if moment.year == 1 else LATEST
