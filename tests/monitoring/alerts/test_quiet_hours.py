"""Quiet hours lie in a time zone, and may go over midnight and over clock changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from scheduled_tasks.monitoring.alerts.quiet_hours import QuietHours

pytestmark = pytest.mark.without_database


@pytest.mark.parametrize(
    ("text", "now", "end"),
    [
        ("22:00-07:00", "2026-03-01T21:59:59+00:00", None),
        ("22:00-07:00", "2026-03-01T22:00:00+00:00", "2026-03-02T07:00:00+00:00"),
        ("22:00-07:00", "2026-03-02T06:59:59+00:00", "2026-03-02T07:00:00+00:00"),
        ("22:00-07:00", "2026-03-02T07:00:00+00:00", None),
        ("12:00 - 13:30", "2026-03-01T12:30:00+00:00", "2026-03-01T13:30:00+00:00"),
        ("12:00 - 13:30", "2026-03-01T11:30:00+00:00", None),
        ("22:00-07:00 Europe/Berlin", "2026-03-01T21:30:00+00:00", "2026-03-02T06:00:00+00:00"),
        # The clocks go forward in this night, and back in the other.
        ("22:00-07:00 Europe/Berlin", "2026-03-28T21:30:00+00:00", "2026-03-29T05:00:00+00:00"),
        ("22:00-07:00 Europe/Berlin", "2026-10-24T21:30:00+00:00", "2026-10-25T06:00:00+00:00"),
        # There is no 02:30 in this night: the clocks go from 02:00 to 03:00.
        ("22:00-02:30 Europe/Berlin", "2026-03-29T00:30:00+01:00", "2026-03-29T03:00:00+02:00"),
        ("22:00-02:30 Europe/Berlin", "2026-03-29T03:00:00+02:00", None),
        ("02:30-07:00 Europe/Berlin", "2026-03-29T01:59:59+01:00", None),
        ("02:30-07:00 Europe/Berlin", "2026-03-29T03:00:00+02:00", "2026-03-29T07:00:00+02:00"),
        ("02:10-02:50 Europe/Berlin", "2026-03-29T03:00:00+02:00", None),
        # There are two in this one.
        ("22:00-02:30 Europe/Berlin", "2026-10-25T02:15:00+02:00", "2026-10-25T02:30:00+01:00"),
        ("22:00-02:30 Europe/Berlin", "2026-10-25T02:45:00+02:00", "2026-10-25T02:30:00+01:00"),
        ("22:00-02:30 Europe/Berlin", "2026-10-25T02:15:00+01:00", "2026-10-25T02:30:00+01:00"),
        ("22:00-02:30 Europe/Berlin", "2026-10-25T02:30:00+01:00", None),
        ("02:30-07:00 Europe/Berlin", "2026-10-25T02:10:00+02:00", None),
        ("02:30-07:00 Europe/Berlin", "2026-10-25T02:10:00+01:00", "2026-10-25T07:00:00+01:00"),
        # Tomorrow's quiet hours have begun when today's end.
        ("02:30-02:15 Europe/Berlin", "2026-10-25T02:05:00+01:00", "2026-10-26T02:15:00+01:00"),
    ],
)
def test_the_end_of_the_hours(text: str, now: str, end: str | None) -> None:
    found = QuietHours.parse(text, where="it").end_after(datetime.fromisoformat(now))
    assert found == (None if end is None else datetime.fromisoformat(end))


LIMITS = ("00:00", "01:00", "01:30", "02:00", "02:15", "02:30", "03:00", "03:30", "22:00")
#: Moments around which the clocks go forward, and back.
CHANGES = {
    "Europe/Berlin": ("2026-03-29T01:00", "2026-10-25T01:00"),
    "America/New_York": ("2026-03-08T07:00", "2026-11-01T06:00"),
    "Australia/Lord_Howe": ("2026-10-03T15:30", "2026-04-04T15:00"),
}


@pytest.mark.parametrize(
    ("zone", "change"), [(zone, change) for zone, both in CHANGES.items() for change in both]
)
def test_they_last_until_the_end_that_is_told(zone: str, change: str) -> None:
    """Around a change of the clocks, each moment knows the end, and it is quiet until then."""
    begin = datetime.fromisoformat(change).replace(tzinfo=UTC) - timedelta(hours=14)
    moments = [begin + timedelta(minutes=5 * number) for number in range(28 * 12)]
    for start, end in permutations(LIMITS, 2):
        hours = QuietHours.parse(f"{start}-{end} {zone}", where="it")
        ends = [hours.end_after(moment) for moment in moments]
        for moment, found, later in zip(moments, ends, ends[1:], strict=False):
            assert found is None or moment < found <= moment + timedelta(hours=25)
            if found is not None and found > moment + timedelta(minutes=5):
                assert later is not None
                assert later >= found
