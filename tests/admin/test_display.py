"""Times, durations and values as text and HTML."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from scheduled_tasks.admin import display

pytestmark = pytest.mark.any_database


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "now"),
        (0.9, "now"),
        (1, "in 1 second"),
        (59, "in 59 seconds"),
        (60, "in 1 minute"),
        (7_300, "in 2 hours"),
        (90_000, "in 1 day"),
        (864_000, "in 10 days"),
        (-1, "1 second ago"),
        (-3_599, "59 minutes ago"),
    ],
)
def test_moments_relative_to_now(now: datetime, seconds: float, said: str) -> None:
    assert display.relative(now + timedelta(seconds=seconds), now) == said


@pytest.mark.parametrize(
    ("milliseconds", "said"),
    [
        (None, "-"),
        (0, "0 ms"),
        (999, "999 ms"),
        (1_000, "1.0 s"),
        (59_940, "59.9 s"),
        (59_960, "1 min 00 s"),
        (61_000, "1 min 01 s"),
        (3_599_700, "1 h 00 min"),
        (90_061_000, "25 h 01 min"),
    ],
)
def test_durations(milliseconds: int | None, said: str) -> None:
    assert display.duration(milliseconds) == said


@pytest.mark.parametrize(
    ("progress", "said"),
    [
        ({"done": 40, "total": 100, "text": ""}, "40 of 100"),
        ({"done": 40.0, "total": 100.0, "text": "letters"}, "40 of 100, letters"),
        ({"done": 1 / 3, "total": None, "text": ""}, "0.333333333333"),
        ({"done": 12_345_678, "total": None, "text": "rows"}, "12345678, rows"),
        ({"done": 0, "total": 0, "text": ""}, "0 of 0"),
        ({"done": "nan", "total": "1.5", "text": ""}, "nan of 1.5"),
        (None, "-"),
        ("cut", "-"),
        ({}, "-"),
    ],
)
def test_progress(progress: Any, said: str) -> None:
    assert display.progress(progress) == said


@pytest.mark.parametrize(
    ("level", "said"),
    [
        (0, "st-info"),
        (10, "st-info"),
        (30, "st-warning"),
        (35, "st-warning"),
        (40, "st-error"),
        (50, "st-error"),
    ],
)
def test_levels(level: int, said: str) -> None:
    assert said in display.log_level(level)
    assert logging.getLevelName(level) in display.log_level(level)


@pytest.mark.parametrize(("amount", "said"), [(None, "-"), (0, "0 MB"), (2048, "2048 MB")])
def test_memory(amount: int | None, said: str) -> None:
    assert display.megabytes(amount) == said


def test_times_are_in_the_current_time_zone(now: datetime) -> None:
    with timezone.override("Europe/Berlin"):
        said = display.moment(now, now=now + timedelta(hours=2))
    assert '<time datetime="2026-03-01T12:00:00+00:00">2026-03-01 13:00:00 CET</time>' in said
    assert '<span class="st-relative">2 hours ago</span>' in said


@pytest.mark.parametrize("moment", [datetime.min, datetime.max])
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_the_extremes_of_time_are_shown(moment: datetime, zone: str, now: datetime) -> None:
    with timezone.override(zone):
        assert "<time" in display.moment(moment.replace(tzinfo=UTC), now=now)


def test_what_is_not_there_is_a_dash() -> None:
    assert display.moment(None) == display.badge("") == display.EMPTY
    assert display.pretty_json({}) == display.pretty_json(None) == display.EMPTY
    assert display.preformatted("") == display.EMPTY


def test_what_says_no_is_there() -> None:
    assert "false" in display.pretty_json(False)
    assert "[]" in display.pretty_json([])
