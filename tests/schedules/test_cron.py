from __future__ import annotations

import copy
import pickle
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings

from scheduled_tasks.exceptions import InvalidSchedule
from scheduled_tasks.schedules import Cron, parse
from scheduled_tasks.schedules.zones import DEFAULT_ZONE
from tests.schedules.expressions import expressions, macros
from tests.schedules.moments import utc


@pytest.mark.parametrize(
    ("expression", "slots"),
    [
        ("@hourly", ["2026-01-31 13:00", "2026-01-31 14:00"]),
        ("@daily", ["2026-02-01 00:00", "2026-02-02 00:00"]),
        ("@midnight", ["2026-02-01 00:00", "2026-02-02 00:00"]),
        ("@weekly", ["2026-02-01 00:00", "2026-02-08 00:00"]),
        ("@monthly", ["2026-02-01 00:00", "2026-03-01 00:00"]),
        ("@yearly", ["2027-01-01 00:00", "2028-01-01 00:00"]),
        ("@Annually", ["2027-01-01 00:00", "2028-01-01 00:00"]),
        ("0 0 29 2 *", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("0 0 29 2 */7", ["2032-02-29 00:00", "2060-02-29 00:00"]),
        ("0 0 31 2 MON", ["2026-02-02 00:00", "2026-02-09 00:00"]),
        ("0 0 L * *", ["2026-02-28 00:00", "2026-03-31 00:00", "2026-04-30 00:00"]),
        ("0 0 1-29,31,L * *", ["2026-02-01 00:00", "2026-02-02 00:00"]),
        ("0 0 13 * FRI", ["2026-02-06 00:00", "2026-02-13 00:00", "2026-02-20 00:00"]),
        ("0 0 13 * */5", ["2026-02-13 00:00", "2026-03-13 00:00", "2026-09-13 00:00"]),
        ("0 0 1-31 * FRI", ["2026-02-01 00:00", "2026-02-02 00:00"]),
        ("0 0 1,* * FRI", ["2026-02-01 00:00", "2026-02-02 00:00"]),
        ("0 0 * * fri-sun", ["2026-02-01 00:00", "2026-02-06 00:00", "2026-02-07 00:00"]),
        ("0 0 * * 5-7/2", ["2026-02-01 00:00", "2026-02-06 00:00"]),
        ("0 0 * * SUN-MON", ["2026-02-01 00:00", "2026-02-02 00:00", "2026-02-08 00:00"]),
        ("0 0 * * MON#1", ["2026-02-02 00:00", "2026-03-02 00:00", "2026-04-06 00:00"]),
        ("0 0 * * 5#5", ["2026-05-29 00:00", "2026-07-31 00:00", "2026-10-30 00:00"]),
        ("0 0 * * fril", ["2026-02-27 00:00", "2026-03-27 00:00", "2026-04-24 00:00"]),
        ("0 0 * * 5L", ["2026-02-27 00:00", "2026-03-27 00:00", "2026-04-24 00:00"]),
        ("0 0 * * 0L,7#1", ["2026-02-01 00:00", "2026-02-22 00:00", "2026-03-01 00:00"]),
        ("0 0 15 * MON#1", ["2026-02-02 00:00", "2026-02-15 00:00", "2026-03-02 00:00"]),
        ("0 0 */2 * MON#1", ["2026-06-01 00:00", "2026-08-03 00:00"]),
        ("0 0 L * MONL", ["2026-02-23 00:00", "2026-02-28 00:00", "2026-03-30 00:00"]),
        ("0 0 * 2 MON#5", ["2044-02-29 00:00", "2072-02-29 00:00"]),
        ("5-5 0 * 3-3 *", ["2026-03-01 00:05", "2026-03-02 00:05"]),
    ],
)
def test_slots(expression: str, slots: list[str]) -> None:
    found = Cron(expression).upcoming(len(slots), after=utc("2026-01-31 12:30"))
    assert found == [utc(slot) for slot in slots]


def test_slots_are_utc_whatever_the_moments_zone() -> None:
    moment = datetime(2026, 1, 1, 12, 0, tzinfo=timezone(timedelta(hours=3)))
    slot = Cron("0 * * * *").next_after(moment)
    assert slot == utc("2026-01-01 10:00")
    assert slot is not None
    assert slot.tzinfo is UTC


def test_without_a_zone_the_slots_are_in_utc() -> None:
    for schedule in (Cron("0 9 * * *"), parse("0 9 * * *")):
        assert schedule is not None
        assert schedule.timezone is DEFAULT_ZONE
        assert schedule.next_after(utc("2026-07-01 08:00")) == utc("2026-07-01 09:00")
        assert schedule == Cron("0 9 * * *", timezone="UTC")


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(InvalidSchedule, match="has no time zone"):
        Cron("* * * * *").next_after(datetime(2026, 1, 1))


@pytest.mark.parametrize("text", ["0 2 * * *", "every hour", "at 2030-01-01 09:00"])
def test_slots_after_no_moment_are_refused(text: str) -> None:
    schedule: Any = parse(text)
    for moment in (None, "2026-01-01", 5, datetime(2026, 1, 1).date()):
        with pytest.raises(InvalidSchedule, match="A moment is an aware datetime, not"):
            schedule.next_after(moment)
        with pytest.raises(InvalidSchedule, match="A moment is an aware datetime, not"):
            schedule.upcoming(0, after=moment)
    with pytest.raises(InvalidSchedule, match="takes a number of slots, not str"):
        schedule.upcoming("1", after=utc("2026-01-01 10:00"))


@pytest.mark.parametrize("blank", ["", " "])
def test_an_empty_expression_is_refused(blank: str) -> None:
    with pytest.raises(InvalidSchedule, match="A cron expression is not empty"):
        Cron(blank)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Apia"])
@pytest.mark.parametrize("expression", ["* * * * *", "0 0 29 2 *", "30 2 * * *"])
def test_time_has_an_end_but_no_error(expression: str, zone: str) -> None:
    schedule = Cron(expression, timezone=zone)
    west, east = (timezone(timedelta(hours=hours)) for hours in (-14, 14))
    assert schedule.next_after(datetime.max.replace(tzinfo=west)) is None
    assert schedule.next_after(datetime.max.replace(tzinfo=UTC)) is None
    assert schedule.next_after(datetime.min.replace(tzinfo=east)) is not None
    assert schedule.next_after(datetime.min.replace(tzinfo=UTC)) is not None


def test_the_last_slots_of_time_are_found() -> None:
    assert Cron("0 0 31 12 *").next_after(utc("9999-01-01")) == utc("9999-12-31")
    assert Cron("0 0 1 * FRI").next_after(utc("9999-12-30")) == utc("9999-12-31")


def test_upcoming_is_empty_for_no_slots() -> None:
    assert Cron("* * * * *").upcoming(0, after=utc("2026-01-01")) == []


def test_text_is_tidied() -> None:
    assert str(Cron("  0  9 * jan  mon-fri ")) == "0 9 * JAN MON-FRI"
    assert str(Cron(" @Daily")) == "@daily"
    assert Cron("0 9 * * MON") == Cron("0 9 * * mon")
    assert Cron("0 9 * * MON") != Cron("0 9 * * MON", timezone="Europe/Berlin")


@settings(derandomize=True)
@given(expression=expressions | macros)
def test_text_parses_to_an_equal_described_value(expression: str) -> None:
    try:
        schedule = Cron(expression, timezone="Asia/Tokyo")
    except InvalidSchedule as error:
        assert "never reached" in str(error)  # noqa: PT017
        return
    assert parse(schedule.text, schedule.timezone) == schedule
    assert schedule.describe().endswith(" (Asia/Tokyo)")


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("*/5 * * * *", "Every 5 minutes"),
        ("0 * * * *", "Every hour"),
        ("0 9 * * MON-FRI", "At 09:00, Monday through Friday"),
        ("@monthly", "At 00:00, on day 1 of the month"),
        ("0 0 * * 5-6/2", "At 00:00, only on Friday"),
        ("0 */24 * * *", "At 00:00"),
        ("0 0 13 * FRI", "At 00:00, on day 13 of the month, or on Friday"),
        ("0 0 */2 * FRI", "At 00:00, every 2 days, but only on Friday"),
        ("0 0 1-31 * FRI", "At 00:00"),
        ("0 0 30 2 FRI", "At 00:00, only on Friday, only in February"),
        ("0 0 L * *", "At 00:00, on the last day of the month"),
        ("0 0 1,L * *", "At 00:00, on day 1 and the last of the month"),
        (
            "0 9-17 * * MON-FRI",
            "At 0 minutes past the hour, between 09:00 and 17:59, Monday through Friday",
        ),
        ("0 9 * * MON#1", "At 09:00, on the first Monday of the month"),
        ("0 9 * * 5L", "At 09:00, on the last Friday of the month"),
        (
            "0 9 * 3 1#2,FRIL",
            "At 09:00, on the second Monday and the last Friday of the month, only in March",
        ),
        ("0 9 * * 2,1#1", "At 09:00, on Tuesday and the first Monday of the month"),
        ("0 9 1 * 1#1", "At 09:00, on day 1 of the month, or on the first Monday of the month"),
        ("0 9 */2 * 5L", "At 09:00, every 2 days, but only on the last Friday of the month"),
        ("0 9 1-31 * 1#1", "At 09:00"),
        ("0 0 1-10/3 * *", "At 00:00, every 3 days, between day 1 and 10 of the month"),
    ],
)
def test_descriptions(expression: str, said: str) -> None:
    assert Cron(expression).describe() == said


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies_are_equal_and_work(copied: Callable[[Cron], Cron]) -> None:
    schedule = Cron("0 9 */2 * MON#1,FRIL", timezone="Europe/Berlin")
    again = copied(schedule)
    assert again == schedule
    assert hash(again) == hash(schedule)
    assert again.describe() == schedule.describe()
    assert again.upcoming(5, after=utc("2026-01-01")) == schedule.upcoming(
        5, after=utc("2026-01-01")
    )


def test_threads_do_not_disturb_each_other() -> None:
    schedule = Cron("*/7 3-5 * * *", timezone="Europe/Berlin")
    moments = [utc("2026-01-01") + timedelta(hours=hours) for hours in range(200)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(schedule.next_after, moments))
    assert found == [schedule.next_after(moment) for moment in moments]


@pytest.mark.parametrize(
    "expression", ["0 0 29 2 *", "* 0 29 2 */7", "0 0 31 2 1", "0 0 L 2 6", "0 0 * 2 1#5"]
)
def test_rare_dates_are_found_fast(expression: str) -> None:
    schedule = Cron(expression, timezone="America/New_York")
    began = time.process_time()
    assert len(schedule.upcoming(5, after=utc("2070-03-01"))) == 5
    assert time.process_time() - began < 0.1
