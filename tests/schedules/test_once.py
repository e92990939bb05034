from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings

from scheduled_tasks.exceptions import InvalidSchedule
from scheduled_tasks.schedules import Once, parse
from scheduled_tasks.schedules.zones import DEFAULT_ZONE
from tests.schedules.expressions import places, seconds
from tests.schedules.moments import utc

LONG_AGO = utc("1900-01-01")


def test_without_a_zone_the_slot_is_in_utc() -> None:
    for schedule in (
        Once(datetime(2026, 7, 1, 9)),
        Once.from_text("at 2026-07-01 09:00"),
        parse("at 2026-07-01 09:00"),
    ):
        assert schedule is not None
        assert schedule.timezone is DEFAULT_ZONE
        assert schedule.next_after(LONG_AGO) == utc("2026-07-01 09:00")


@pytest.mark.parametrize(
    ("text", "zone", "slot"),
    [
        ("at 2026-12-01 09:00", "UTC", "2026-12-01 09:00"),
        ("at 2026-12-01 09:00", "Europe/Berlin", "2026-12-01 08:00"),
        ("AT 2026-12-01T09:00:30", "Europe/Berlin", "2026-12-01 08:00:30"),
        ("at 2026-03-29 02:30", "Europe/Berlin", "2026-03-29 01:00"),
        ("at 2026-10-25 02:30", "Europe/Berlin", "2026-10-25 00:30"),
        ("at 2011-12-30 12:00", "Pacific/Apia", "2011-12-30 10:00"),
    ],
)
def test_the_slot_is_the_local_time(text: str, zone: str, slot: str) -> None:
    schedule = parse(text, zone)
    assert schedule is not None
    assert schedule.upcoming(2, after=LONG_AGO) == [utc(slot)]
    assert schedule.next_after(utc(slot)) is None
    assert schedule.next_after(utc(slot) - timedelta(microseconds=1)) == utc(slot)


@settings(derandomize=True)
@given(place=places(), early=seconds(timedelta(days=2)))
def test_an_aware_time_is_kept_to_the_second(place: tuple[str, datetime], early: timedelta) -> None:
    zone, change = place
    at = change + early
    try:
        schedule = Once(at, timezone=zone)
    except InvalidSchedule as error:
        assert "second pass" in str(error) or at.year < 1971  # noqa: PT017
        return
    assert schedule.next_after(LONG_AGO) == at
    assert parse(schedule.text, schedule.timezone) == schedule


def test_texts_and_descriptions() -> None:
    schedule = Once(utc("2026-12-01 08:00"), timezone="Europe/Berlin")
    assert str(schedule) == "at 2026-12-01 09:00"
    assert schedule.describe() == "Once, on 2026-12-01 at 09:00 (Europe/Berlin)"
    assert str(Once(utc("2026-12-01 08:00:05"))) == "at 2026-12-01 08:00:05"
    assert Once(utc("2026-12-01 08:00:05.999")) == Once(utc("2026-12-01 08:00:05"))


def test_a_repeated_times_second_pass_is_refused() -> None:
    with pytest.raises(InvalidSchedule, match="give the schedule the time zone 'UTC'"):
        Once(utc("2026-10-25 01:30"), timezone="Europe/Berlin")
    assert Once(utc("2026-10-25 01:30")).next_after(LONG_AGO) == utc("2026-10-25 01:30")


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Apia"])
@pytest.mark.parametrize("hours", [-14, 0, 14])
def test_the_ends_of_time_are_refused_or_found(zone: str, hours: int) -> None:
    offset = timezone(timedelta(hours=hours))
    for at in (datetime(9999, 12, 31, 23, 59), datetime.max.replace(tzinfo=offset)):
        try:
            slot = Once(at, timezone=zone).next_after(LONG_AGO)
        except InvalidSchedule as error:
            assert "outside the years 1970 to 9999" in str(error)  # noqa: PT017
        else:
            assert slot is not None
    for at in (datetime(1, 1, 1), datetime.min.replace(tzinfo=offset)):
        with pytest.raises(InvalidSchedule, match="outside the years 1970 to 9999"):
            Once(at, timezone=zone)


def test_what_is_not_a_datetime_is_refused() -> None:
    with pytest.raises(InvalidSchedule, match="A moment is a datetime, not date"):
        Once(date(2026, 1, 1))  # type: ignore[arg-type]
    assert Once(datetime(2026, 1, 1, tzinfo=UTC)).timezone == "UTC"
