"""Between UTC and local time: gaps, folds, and the instants at which an offset changes.

Local times are naive here, instants are aware and in UTC. No zone in the tz database has ever
changed its offset twice within four days, so any shorter span contains one change at most.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

SECOND = timedelta(seconds=1)


def wall_time(instant: datetime, zone: ZoneInfo) -> datetime:
    """Return the local time of an instant in the zone."""
    local = instant.astimezone(zone)
    # Several times as fast as ``replace``, and this is half of what the next slot costs.
    return datetime.combine(local.date(), local.time())


def offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    """Return the UTC offset of the zone at an instant."""
    return wall_time(instant, zone) - instant.replace(tzinfo=None)


def first_instant(local: datetime, zone: ZoneInfo) -> datetime:
    """Return the first instant with this local time, or the end of the gap that it falls into."""
    first = datetime.combine(local.date(), local.time(), zone).astimezone(UTC)
    if wall_time(first, zone) == local:
        return first
    # In a gap, the offset before the change yields the later of two instants around the change.
    return change(local.replace(tzinfo=zone, fold=1).astimezone(UTC), first, zone)


def last_instant(local: datetime, zone: ZoneInfo) -> datetime:
    """Return the last instant with this local time, or the end of the gap that it falls into."""
    last = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return last if wall_time(last, zone) == local else first_instant(local, zone)


def repeats_until(instant: datetime, zone: ZoneInfo) -> datetime | None:
    """Return the local time at which the fold ends, or None outside the second pass of a fold."""
    local = instant.astimezone(zone)
    if not local.fold:
        return None
    first_pass = local.replace(fold=0).astimezone(UTC)
    turned_back = change(first_pass, instant, zone)
    return turned_back.replace(tzinfo=None) + offset(first_pass, zone)


def change(start: datetime, end: datetime, zone: ZoneInfo) -> datetime:
    """Return the instant in (start, end], to the second, since which the offset is the new one."""
    before = offset(start, zone)
    seconds = range((end - start) // SECOND)
    return start + SECOND * bisect_left(
        seconds, 1, key=lambda second: offset(start + SECOND * second, zone) != before
    )
