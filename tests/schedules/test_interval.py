from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduled_tasks.exceptions import InvalidSchedule
from scheduled_tasks.schedules import Interval, parse
from tests.schedules.moments import utc

moments = st.datetimes(datetime(1960, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
lengths = st.integers(1, 366 * 86_400).map(lambda seconds: timedelta(seconds=seconds))


@settings(derandomize=True)
@given(every=lengths, anchor=moments, moment=moments)
def test_slots_are_whole_intervals_from_the_anchor(
    every: timedelta, anchor: datetime, moment: datetime
) -> None:
    slot = Interval(every, anchor=anchor).next_after(moment)
    assert slot is not None
    assert slot > moment
    assert slot >= anchor
    assert (slot - anchor) % every == timedelta(0)
    assert slot == anchor or slot - every <= moment


def test_slots_count_from_the_epoch_without_an_anchor() -> None:
    assert Interval(timedelta(minutes=15)).upcoming(2, after=utc("2026-03-29 00:50")) == [
        utc("2026-03-29 01:00"),
        utc("2026-03-29 01:15"),
    ]


def test_the_anchor_is_the_first_slot() -> None:
    anchor = datetime.fromisoformat("2026-01-01T10:00:30+02:00")
    schedule = parse("every 1 hour", anchor=anchor)
    assert schedule == Interval(timedelta(hours=1), anchor=utc("2026-01-01 08:00:30"))
    assert schedule.next_after(utc("2020-01-01")) == utc("2026-01-01 08:00:30")
    assert schedule.next_after(anchor) == utc("2026-01-01 09:00:30")


def test_time_has_an_end_but_no_error() -> None:
    assert Interval(timedelta(days=1)).next_after(datetime.max.replace(tzinfo=UTC)) is None


@pytest.mark.parametrize(
    ("text", "canonical", "said"),
    [
        ("every second", "every 1 second", "Every second"),
        ("every 1 second", "every 1 second", "Every second"),
        ("EVERY  15 Minutes", "every 15 minutes", "Every 15 minutes"),
        ("@every 15m", "every 15 minutes", "Every 15 minutes"),
        ("@every 1h30m", "every 90 minutes", "Every 90 minutes"),
        ("every 90s", "every 90 seconds", "Every 90 seconds"),
        ("every 6 hours", "every 6 hours", "Every 6 hours"),
        ("every 24 hours", "every 1 day", "Every day"),
        ("every 2 days", "every 2 days", "Every 2 days"),
        ("every 1 week", "every 7 days", "Every 7 days"),
        ("every week", "every 7 days", "Every 7 days"),
        ("@every 1w1d", "every 8 days", "Every 8 days"),
    ],
)
def test_texts_and_descriptions(text: str, canonical: str, said: str) -> None:
    schedule = parse(text, "Europe/Berlin")
    assert schedule is not None
    assert str(schedule) == canonical
    assert schedule.timezone == "UTC"
    assert schedule.describe() == said


@settings(derandomize=True)
@given(every=lengths)
def test_text_parses_to_an_equal_value(every: timedelta) -> None:
    schedule = Interval(every)
    assert parse(schedule.text, schedule.timezone) == schedule


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"every": timedelta(0)}, "from 1 second"),
        ({"every": timedelta(seconds=-5)}, "from 1 second"),
        ({"every": timedelta(days=367)}, "to 366 days"),
        ({"every": timedelta(seconds=1.5)}, "whole number of seconds"),
        ({"every": 60}, "is a timedelta, not int"),
        ({"every": timedelta(1), "anchor": datetime(2026, 1, 1)}, "has no time zone"),
        ({"every": timedelta(1), "anchor": date(2026, 1, 1)}, "is a datetime, not date"),
    ],
)
def test_what_is_no_interval_is_refused(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidSchedule, match=reason):
        Interval(**arguments)
