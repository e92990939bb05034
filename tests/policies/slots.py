"""The slots of the schedules in the simulated year, told without the package.

Cron follows the walk through real time of ``tests.schedules.simulator``. That takes seconds for a
year, so days on which no clock is changed are counted off from the calendar instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import takewhile
from zoneinfo import ZoneInfo

from tests.schedules.simulator import Simulator, wall

DAY = timedelta(days=1)
#: No slot of the simulated schedules is farther away than this, if there is one at all.
FAR = 400
UNITS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}


def slots_after(
    schedule: str, zone: str, anchor: datetime | None, after: datetime
) -> Iterator[datetime]:
    """Yield the slots of a schedule after a moment, in order, as far as anybody looks."""
    word, _, rest = schedule.partition(" ")
    if word == "every":
        assert anchor is not None
        yield from interval(rest, anchor, after)
    elif word == "at":
        moment = instant(datetime.fromisoformat(rest), ZoneInfo(zone))
        yield from [moment] if moment > after else []
    elif schedule:
        first = after.astimezone(UTC).date()
        for days in range(FAR):
            slots = on(schedule, zone, first + days * DAY)
            yield from slots if days else (slot for slot in slots if slot > after)


def interval(text: str, anchor: datetime, after: datetime) -> Iterator[datetime]:
    number, unit = text.split()
    every = timedelta(seconds=int(number) * UNITS[unit.removesuffix("s")])
    slot = anchor + max(0, (after - anchor) // every + 1) * every
    while True:
        yield slot
        slot += every


def instant(local: datetime, zone: ZoneInfo) -> datetime:
    """Return the first instant at which the clock shows a time, or has been put past it."""
    late = local.replace(tzinfo=zone).astimezone(UTC)
    if wall(late, zone) == local:
        return late
    early = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    while late - early > timedelta(seconds=1):
        middle = early + timedelta(seconds=(late - early) // timedelta(seconds=2))
        early, late = (early, middle) if wall(middle, zone) >= local else (middle, late)
    return late


@cache
def on(expression: str, zone: str, day: date) -> tuple[datetime, ...]:
    """Return the slots of a cron expression on one day of UTC, its first instant included."""
    place, simulator = ZoneInfo(zone), simulator_of(expression)
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    offset = steady(place, begin)
    if offset is None:
        walked = simulator.slots(place, begin - timedelta(seconds=1), begin + DAY)
        return tuple(slot for slot in walked if slot < begin + DAY)
    first = (begin + offset).replace(tzinfo=None)
    found = []
    for local in (first.date(), first.date() + DAY):
        times = clock_times(simulator, local)
        found += [time for time in times if first <= time < first + DAY]
    return tuple((time - offset).replace(tzinfo=UTC) for time in found)


def clock_times(simulator: Simulator, day: date) -> list[datetime]:
    midnight = datetime(day.year, day.month, day.day)
    times = (
        midnight.replace(hour=hour, minute=minute)
        for hour in sorted(simulator.hours)
        for minute in sorted(simulator.minutes)
    )
    return list(takewhile(simulator.matches, times))


@cache
def steady(zone: ZoneInfo, begin: datetime) -> timedelta | None:
    """Return the offset from UTC, if it is the same from two days before to one day after."""
    offsets = {(begin + days * DAY).astimezone(zone).utcoffset() for days in range(-2, 3)}
    return offsets.pop() if len(offsets) == 1 else None


@cache
def simulator_of(expression: str) -> Simulator:
    return Simulator(expression)
