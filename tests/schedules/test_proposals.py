"""What an error proposes can be read, and means what the refused text meant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise, product

import pytest

from scheduled_tasks.exceptions import InvalidSchedule
from scheduled_tasks.schedules import Cron, Interval, Schedule, parse
from scheduled_tasks.schedules.cron_fields import FIELDS, MONTH, WEEKDAY, Field
from scheduled_tasks.schedules.cron_grammar import read_field

STEPS = (1, 2, 3, 5, 7)
PROPOSAL = re.compile(r"(?:write|, or) '(.*?)'(?: with timezone='(.*?)')?")
ZONES = {
    **dict.fromkeys(
        ["Europe/Berlin", "europe/berlin", "[Europe/Berlin]", "(Berlin)"], "Europe/Berlin"
    ),
    **dict.fromkeys(["'Europe/Berlin'", 'tz="Europe/Berlin"', "in Europe/Berlin"], "Europe/Berlin"),
    "Z": "UTC",
    "EST": "EST",
    "New York": "America/New_York",
    **dict.fromkeys(["GMT+2", "UTC+1", "utc-05:30", "UTC +2", "+02:00", "+2", "-0800"], ""),
    **dict.fromkeys(["PST", "CEST", "BST", "IST", "AEDT", "Mars/Base"], ""),
}
TEXTS = ["0 9 * * *", "*/15 9-17 * * MON-FRI", "@daily", "0 9 L * *"]
BROKEN = [
    "0 22-6 * * *",
    "*/10 * * * * *",
    "0 0 1 1 * 2027",
    "0 0 9 * * FRI-MON",
    "daily",
    "0 9 * * FRIDAY",
]


def refusal(text: str) -> str:
    with pytest.raises(InvalidSchedule) as caught:
        parse(text)
    return str(caught.value)


def proposals(text: str) -> list[tuple[Schedule, str]]:
    """Return the schedules that the refusal of a text proposes, and the zones for them."""
    found = PROPOSAL.findall(refusal(text))
    schedules = [(parse(proposal, name or "UTC"), name) for proposal, name in found]
    return [(schedule, name) for schedule, name in schedules if schedule]


def proposed_numbers(field: Field, text: str) -> set[int]:
    with pytest.raises(InvalidSchedule) as caught:
        read_field(field, text)
    return set(read_field(field, str(caught.value).rpartition(" write ")[2][:-1]).numbers)


def backward(field: Field) -> Iterator[tuple[int, int, int]]:
    """Yield ends and steps of ranges that run past the end of a field, with 7 for Sunday."""
    some = range(field.low, field.high + 1, max(field.size // 12, 1))
    for low, high, step in product(some, some, STEPS):
        if high < low:
            yield low, high, step


def around(field: Field, low: int, high: int, step: int) -> set[int]:
    """Return the numbers from one to another as on a dial."""
    if low > field.top:
        return set(range(field.low, high + 1, step))
    meant = range(low, high + field.size + 1, step)
    return {field.low + (number - field.low) % field.size for number in meant}


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_a_proposed_range_holds_what_was_meant(field: Field) -> None:
    for low, high, step in backward(field):
        meant = around(field, low, high, step)
        assert proposed_numbers(field, f"{low}-{high}/{step}") == meant, (low, high, step)


@pytest.mark.parametrize("field", [MONTH, WEEKDAY], ids=lambda field: field.name)
def test_a_proposed_range_of_names_holds_them(field: Field) -> None:
    for low, high, step in backward(field):
        if low <= field.top and not (field is WEEKDAY and high == 0):  # SAT-SUN is no fault
            first, last = (field.words[number - field.low] for number in (low, high))
            meant = around(field, low, high, step)
            assert proposed_numbers(field, f"{first}-{last}/{step}") == meant, (low, high, step)


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_a_number_with_a_step_begins_a_range(field: Field) -> None:
    for low, step in product(range(field.low, field.top + 1), STEPS):
        meant = set(range(low, field.top + 1, step))
        assert proposed_numbers(field, f"{low}/{step}") == meant, (low, step)


@pytest.mark.parametrize(("suffix", "name"), ZONES.items())
def test_a_zone_is_never_dropped(suffix: str, name: str) -> None:
    for text in TEXTS:
        sentence = refusal(f"{text} {suffix}")
        assert sentence.startswith(f"The time zone is not part of the text: write {text!r} with ")
        assert f"with timezone={name!r}." in sentence or (not name and "the name of" in sentence)
        assert proposals(f"{text} {suffix}") == [(parse(text, name or "UTC"), name)]


@pytest.mark.parametrize("text", BROKEN)
def test_with_a_zone_the_rest_is_refused_too(text: str) -> None:
    for whole in (f"{text} Europe/Berlin", f"CRON_TZ=Europe/Berlin {text}", f"{text} PST"):
        assert refusal(whole).endswith(f". {refusal(text)}")
        proposals(whole)


def test_months_are_proposed_in_even_steps_only() -> None:
    offered = {number: proposals(f"every {number} months") for number in range(2, 60)}
    assert {number for number, found in offered.items() if found} == {2, 3, 4, 6, 12}
    for number, found in offered.items():
        for schedule, _zone in found:
            slots = schedule.upcoming(30, after=datetime(2026, 1, 1, tzinfo=UTC))
            months = [slot.year * 12 + slot.month for slot in slots]
            assert {later - earlier for earlier, later in pairwise(months)} == {number}


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("each {} seconds", timedelta(seconds=1)),
        ("every {} secs", timedelta(seconds=1)),
        ("{} min", timedelta(minutes=1)),
        ("every {} hrs and 0 mins", timedelta(hours=1)),
        ("{} days", timedelta(days=1)),
        ("every {} w 0 s", timedelta(weeks=1)),
    ],
)
def test_a_proposed_interval_has_the_length(text: str, length: timedelta) -> None:
    for number in (2, 7, 24, 60, 90, 366, 1000, 99_999):
        found = [schedule for schedule, _zone in proposals(text.format(number))]
        fits = number * length <= timedelta(days=366)
        assert found == ([Interval(number * length)] if fits else []), text


def test_seconds_are_proposed_in_even_steps_only() -> None:
    for step in range(2, 100):
        found = [schedule for schedule, _zone in proposals(f"*/{step} * * * * *")]
        assert found == ([] if 60 % step else [Interval(timedelta(seconds=step))])


def test_fields_of_quartz_keep_their_meaning() -> None:
    for minute, hour, day in product(
        ("0", "0/5", "7/15"), ("*", "8-10", "0/6"), ("*", "1/1", "1/5")
    ):
        [(found, _zone)] = proposals(f"0 {minute} {hour} {day} * ?")
        plain = [
            re.sub(r"^(\d+)/(\d+)$", rf"\1-{top}/\2", word)
            for word, top in ((minute, 59), (hour, 23), (day, 31))
        ]
        meant, after = Cron(f"{' '.join(plain)} * *"), datetime(2026, 1, 30, tzinfo=UTC)
        assert found.upcoming(20, after=after) == meant.upcoming(20, after=after)


@pytest.mark.parametrize("ending", ["", " root", " * ", " ?", " 2027", " 2027 UTC", " ? *", " # x"])
def test_whatever_is_proposed_can_be_read(ending: str) -> None:
    """None of these has a meaning that could be computed; they must not lead to another error."""
    words = ["*", "5/10", "7", "L", "LW", "FRI - MON", "MONDAY,", "99", "?", "FRI#L", "*/x", "22-6"]
    for first, last in product(words, repeat=2):
        text = f"0 {first} * * {last}{ending}"
        try:
            parse(text)
        except InvalidSchedule:
            proposals(text)
