"""Slots of cron against a simulator that walks through real time.

The long form::

    SCHEDULES=5000 python -m tests tests/schedules/test_simulation.py
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones
from zoneinfo._zoneinfo import ZoneInfo as PythonZoneInfo

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scheduled_tasks.exceptions import InvalidSchedule
from scheduled_tasks.schedules import Cron
from tests.schedules.expressions import expressions, places, seconds
from tests.schedules.simulator import Simulator

DAY = timedelta(days=1)
played = settings(max_examples=int(os.environ.get("SCHEDULES", "60")), derandomize=True)


def cron(expression: str, zone: str) -> Cron:
    try:
        return Cron(expression, timezone=zone)
    except InvalidSchedule as error:
        assume("never reached" not in str(error))
        raise


@played
@given(expression=expressions, place=places(), early=seconds(2 * DAY))
def test_slots_around_clock_changes_match_the_simulator(
    expression: str, place: tuple[str, datetime], early: timedelta
) -> None:
    zone, change = place
    schedule = cron(expression, zone)
    after = change + early
    until = max(after, change) + DAY
    expected = list(Simulator(expression).slots(ZoneInfo(zone), after, until))[:60]
    upcoming = schedule.upcoming(len(expected) + 1, after=after)
    assert upcoming[: len(expected)] == expected
    if len(expected) < 60:
        assert not [slot for slot in upcoming[len(expected) :] if slot <= until]


@played
@given(
    times=st.tuples(
        st.sampled_from(["*", "0", "30", "*/20", "0,30", "15-45/15", "59"]),
        st.sampled_from(["*", "0", "1", "2", "3", "0-3", "*/2", "1,2", "23"]),
    ),
    place=places(),
    early=seconds(timedelta(hours=26)),
)
def test_slots_in_small_hours_match_the_simulator(
    times: tuple[str, str], place: tuple[str, datetime], early: timedelta
) -> None:
    expression = f"{times[0]} {times[1]} * * *"
    zone, change = place
    after = change + early
    expected = list(Simulator(expression).slots(ZoneInfo(zone), after, after + DAY))[:60]
    assert Cron(expression, timezone=zone).upcoming(len(expected), after=after) == expected


@played
@given(
    expression=expressions,
    place=places(),
    late=st.integers(0, 60 * 24 * 366).map(lambda minutes: timedelta(minutes=minutes)),
)
def test_a_slot_is_next_for_every_earlier_moment(
    expression: str, place: tuple[str, datetime], late: timedelta
) -> None:
    zone, moment = place
    slot = cron(expression, zone).next_after(moment)
    assert slot is not None
    between = min(moment + late, slot - timedelta(microseconds=1))
    assert cron(expression, zone).next_after(between) == slot


@played
@given(expression=expressions, start=st.datetimes(datetime(1960, 1, 1), datetime(2400, 1, 1)))
def test_days_are_those_of_the_calendar(expression: str, start: datetime) -> None:
    """Checks months and years that a walk by minutes does not reach."""
    days = " ".join(expression.split()[2:])
    after = start.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=ZoneInfo("UTC"))
    simulator = Simulator(f"0 0 {days}")
    walk = (after + n * DAY for n in range(1, 1500))
    expected = [day for day in walk if simulator.matches(day.replace(tzinfo=None))][:40]
    assert cron(f"0 0 {days}", "UTC").upcoming(len(expected), after=after) == expected


def test_no_zone_changes_twice_within_four_days() -> None:
    """Holds what the search for a change takes for granted, of the zones of this machine."""
    for name in available_timezones():
        zone = PythonZoneInfo.no_cache(name)
        changes = [
            at
            for (_, old), (at, new) in pairwise(zip(zone._trans_utc, zone._ttinfos, strict=True))
            if old.utcoff != new.utcoff
        ]
        assert all(late - early > 3.9 * 86_400 for early, late in pairwise(changes)), name
