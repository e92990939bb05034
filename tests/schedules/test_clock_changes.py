"""What jobs do when clocks are put forward or back: well-known cases, in UTC."""

from __future__ import annotations

from datetime import timedelta

import pytest

from scheduled_tasks.schedules import Cron
from tests.schedules.moments import utc

BERLIN_GAP = ("Europe/Berlin", "2026-03-28 23:30")
BERLIN_FOLD = ("Europe/Berlin", "2026-10-24 22:30")


@pytest.mark.parametrize(
    ("expression", "place", "slots"),
    [
        ("30 2 * * *", BERLIN_GAP, ["2026-03-29 01:00", "2026-03-30 00:30"]),
        ("0,30 2 * * *", BERLIN_GAP, ["2026-03-29 01:00", "2026-03-30 00:00"]),
        ("30 2,3 * * *", BERLIN_GAP, ["2026-03-29 01:00", "2026-03-29 01:30"]),
        ("0 2,3 * * *", BERLIN_GAP, ["2026-03-29 01:00", "2026-03-30 00:00"]),
        ("30 1 * * *", BERLIN_GAP, ["2026-03-29 00:30", "2026-03-29 23:30"]),
        ("0 * * * *", BERLIN_GAP, ["2026-03-29 00:00", "2026-03-29 01:00", "2026-03-29 02:00"]),
        ("*/30 2 * * *", BERLIN_GAP, ["2026-03-30 00:00", "2026-03-30 00:30"]),
        ("30 2 29 3 *", BERLIN_GAP, ["2026-03-29 01:00", "2027-03-29 00:30"]),
        ("30 2 * * *", BERLIN_FOLD, ["2026-10-25 00:30", "2026-10-26 01:30"]),
        ("0 2 * * *", BERLIN_FOLD, ["2026-10-25 00:00", "2026-10-26 01:00"]),
        ("0 3 * * *", BERLIN_FOLD, ["2026-10-25 02:00", "2026-10-26 02:00"]),
        ("0 * * * *", BERLIN_FOLD, ["2026-10-24 23:00", "2026-10-25 00:00", "2026-10-25 01:00"]),
        ("*/30 2 25 10 *", BERLIN_FOLD, [f"2026-10-25 0{t}" for t in ("0:00", "0:30", "1:00")]),
        ("0 0-23 * * *", BERLIN_FOLD, ["2026-10-24 23:00", "2026-10-25 00:00", "2026-10-25 02:00"]),
        (
            "*/30 * * * *",
            ("Australia/Lord_Howe", "2026-10-03 15:00"),
            ["2026-10-03 15:30", "2026-10-03 16:00"],
        ),
        (
            "*/30 * * * *",
            ("Australia/Lord_Howe", "2026-04-04 14:30"),
            ["2026-04-04 15:00", "2026-04-04 15:30"],
        ),
        (
            "15 2 * * *",
            ("Australia/Lord_Howe", "2026-10-03 15:00"),
            ["2026-10-03 15:30", "2026-10-04 15:15"],
        ),
        (
            "0 0 * * *",
            ("America/Havana", "2026-03-07 12:00"),
            ["2026-03-08 05:00", "2026-03-09 04:00"],
        ),
        (
            "0 0 * * *",
            ("America/Havana", "2026-10-31 12:00"),
            ["2026-11-01 04:00", "2026-11-02 05:00"],
        ),
        (
            "0 9 * * *",
            ("Pacific/Apia", "2011-12-29 12:00"),
            ["2011-12-29 19:00", "2011-12-30 10:00", "2011-12-30 19:00"],
        ),
        (
            "* 9 * * *",
            ("Pacific/Apia", "2011-12-29 19:59"),
            ["2011-12-30 19:00", "2011-12-30 19:01"],
        ),
        (
            "0 14 * * *",
            ("Pacific/Kwajalein", "1969-09-30 00:00"),
            ["1969-09-30 03:00", "1969-10-02 02:00"],
        ),
    ],
)
def test_slots(expression: str, place: tuple[str, str], slots: list[str]) -> None:
    zone, after = place
    found = Cron(expression, timezone=zone).upcoming(len(slots), after=utc(after))
    assert found == [utc(slot) for slot in slots]


def test_a_fixed_time_skips_the_second_pass() -> None:
    schedule = Cron("30 2 * * *", timezone="Europe/Berlin")
    assert schedule.next_after(utc("2026-10-25 01:10")) == utc("2026-10-26 01:30")


def test_the_end_of_a_gap_is_strictly_after() -> None:
    schedule = Cron("30 2 * * *", timezone="Europe/Berlin")
    just_before = utc("2026-03-29 01:00") - timedelta(microseconds=1)
    assert schedule.next_after(just_before) == utc("2026-03-29 01:00")
    assert schedule.next_after(utc("2026-03-29 01:00")) == utc("2026-03-30 00:30")


@pytest.mark.parametrize(
    ("zone", "slots"),
    [
        ("Pacific/Kiritimati", ["2028-02-28 10:00", "2028-02-28 10:01"]),
        ("UTC", ["2028-02-29 00:00", "2028-02-29 00:01"]),
        ("Etc/GMT+12", ["2028-02-29 12:00", "2028-02-29 12:01"]),
    ],
)
def test_a_wildcard_finds_its_first_minute_years_ahead(zone: str, slots: list[str]) -> None:
    found = Cron("* * 29 2 *", timezone=zone).upcoming(2, after=utc("2026-03-10"))
    assert found == [utc(slot) for slot in slots]
