"""What docs/schedules.md says about texts is what the code does."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scheduled_tasks.exceptions import InvalidSchedule
from scheduled_tasks.schedules import parse, zone

PAGE = (Path(__file__).parents[2] / "docs" / "schedules.md").read_text()
TABLES = re.findall(
    r"<!-- slots after (.{16})(?: in (\S+))?: begin -->\n(.*?)<!-- slots: end -->", PAGE, re.DOTALL
)
ACCEPTED = [
    (text, name or "UTC", after, slots)
    for after, name, table in TABLES
    for text, slots in re.findall(r"^\| `(.*?)` \|.*\| (\d.*?) \|$", table, re.MULTILINE)
]
INTERVALS_AFTER, INTERVALS_TABLE = re.findall(
    r"<!-- intervals after (.*?): begin -->\n(.*?)<!-- intervals: end -->", PAGE, re.DOTALL
)[0]
INTERVALS = re.findall(r"^\| `(.*?)` \| (.*?), .* \| (.*) \|$", INTERVALS_TABLE, re.MULTILINE)
REFUSED = re.findall(r"^\| `(.*?)` \| (.*) \|$", PAGE.partition("refused: begin")[2], re.MULTILINE)


def in_utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_the_page_has_its_tables() -> None:
    assert len(TABLES) == 3
    assert len(ACCEPTED) > 20
    assert len(INTERVALS) > 3
    assert len(REFUSED) > 25


@pytest.mark.parametrize(("text", "name", "after", "slots"), ACCEPTED)
def test_a_text_has_the_slots_shown(text: str, name: str, after: str, slots: str) -> None:
    schedule = parse(text, name)
    assert schedule is not None
    moment = datetime.fromisoformat(after).replace(tzinfo=zone(name))
    expected = [
        slot if slot.tzinfo else slot.replace(tzinfo=zone(name))
        for slot in map(datetime.fromisoformat, slots.split(", "))
    ]
    assert schedule.upcoming(len(expected), after=moment) == expected


@pytest.mark.parametrize(("text", "anchor", "slots"), INTERVALS)
def test_an_interval_has_the_slots_shown(text: str, anchor: str, slots: str) -> None:
    schedule = parse(text, anchor=in_utc(anchor))
    assert schedule is not None
    expected = [in_utc(slot) for slot in slots.split(", ")]
    assert schedule.upcoming(len(expected), after=in_utc(INTERVALS_AFTER)) == expected


@pytest.mark.parametrize(("text", "sentence"), REFUSED)
def test_a_text_is_refused_as_shown(text: str, sentence: str) -> None:
    with pytest.raises(InvalidSchedule) as refusal:
        parse(text)
    assert str(refusal.value) == sentence


@pytest.mark.parametrize("sentence", [sentence for _, sentence in REFUSED])
def test_what_is_to_be_written_is_accepted(sentence: str) -> None:
    for proposal in re.findall(r"write '(.*?)'", sentence):
        assert parse(proposal) is not None
