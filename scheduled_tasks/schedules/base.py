"""The interface of all schedules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import UTC, datetime

from scheduled_tasks.exceptions import InvalidSchedule

EARLIEST = datetime(1, 1, 3, tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)


class Schedule(ABC):
    """Base class of schedules: immutable values that are equal if their content is equal.

    ``str(schedule)`` is the text that is stored; ``parse`` makes an equal value from it.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def text(self) -> str:
        """The canonical text, which fits in one field of a form or table."""

    @property
    @abstractmethod
    def timezone(self) -> str:
        """The IANA name of the time zone of the text."""

    @abstractmethod
    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first slot strictly after ``moment``, in UTC, or None if there is none.

        Raise InvalidSchedule for a moment without a time zone.
        """

    @abstractmethod
    def describe(self) -> str:
        """Describe the slots in English."""

    def upcoming(self, n: int, *, after: datetime) -> list[datetime]:
        """Return the first ``n`` slots strictly after a moment, fewer if the schedule ends."""
        if not isinstance(n, int):
            raise InvalidSchedule(f"upcoming() takes a number of slots, not {type(n).__name__}.")
        in_utc(after)
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
    """Return the moment in UTC; raise InvalidSchedule if it is none, or has no time zone.

    The first two days of the year 1 become its third, so that offsets can be added to the result.
    """
    if not isinstance(moment, datetime):
        raise InvalidSchedule(f"A moment is an aware datetime, not {type(moment).__name__}.")
    if moment.utcoffset() is None:
        raise InvalidSchedule(f"The moment {moment} has no time zone: pass an aware datetime.")
    try:
        return max(moment.astimezone(UTC), EARLIEST)
    except OverflowError:
        return EARLIEST if moment.year == 1 else LATEST
