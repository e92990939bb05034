"""Quiet hours lie in a time zone, and may go over midnight and over clock changes."""

from __future__ import annotations

from datetime import datetime

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
    ],
)
def test_the_end_of_the_hours(text: str, now: str, end: str | None) -> None:
    found = QuietHours.parse(text, where="it").end_after(datetime.fromisoformat(now))
    assert found == (None if end is None else datetime.fromisoformat(end))
