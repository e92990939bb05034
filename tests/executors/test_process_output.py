"""What comes out of the process of a run, and of those that it starts: lines of its log."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from scheduled_tasks.runtime.messages import LogLine
from tests.executors.conftest import TakeInHand
from tests.executors.processes_in_hand import Hand
from tests.jobs import talkative

pytestmark = pytest.mark.skipif(not Path("/bin/sh").exists(), reason="it asks for a shell")

INFO, WARNING = logging.INFO, logging.WARNING


def lines_of(hand: Hand, number: int) -> list[LogLine]:
    return [said for said in hand.said[number] if isinstance(said, LogLine)]


def said_by(hand: Hand, number: int) -> set[tuple[str, int, str]]:
    return {(line.logger, line.level, line.message) for line in lines_of(hand, number)}


@pytest.fixture(autouse=True)
def buffered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let streams keep back what they do by themselves, whoever runs the tests."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)


@pytest.fixture(params=[True, False], ids=["forked", "afresh"])
def either_hand(
    request: pytest.FixtureRequest, take_in_hand: TakeInHand, monkeypatch: pytest.MonkeyPatch
) -> Hand:
    """Return an executor whose runs are forked, or start in a fresh interpreter."""
    if not request.param:
        monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.support.threaded_settings")
    return take_in_hand(2)


def test_everything_written_is_logged_once(either_hand: Hand) -> None:
    number = either_hand.start("print_everywhere")
    assert either_hand.outcome_of(number).result == "said"
    expected = [
        ("scheduled_tasks.run.one", INFO, "from the context"),
        ("shop.orders", WARNING, "from a module"),
        ("stdout", INFO, "printed"),
        ("stderr", WARNING, "printed to stderr"),
        ("shop.orders", logging.ERROR, "from a thread"),
        ("stdout", INFO, "below \N{REPLACEMENT CHARACTER} Python"),
        ("stdout", INFO, "from a shell"),
        ("stderr", WARNING, "in trouble"),
        ("stdout", INFO, "sent to stdout"),
        ("stdout", INFO, "bytes for stdout"),
        ("stdout", INFO, "to Python's first stream"),
        ("stdout", INFO, "from C"),
        ("stdout", INFO, "from a fork"),
        ("stderr", WARNING, "without an end"),
    ]
    assert said_by(either_hand, number) == set(expected)
    assert len(lines_of(either_hand, number)) == len(expected)


def test_what_was_written_before_a_crash_is_there(hand: Hand) -> None:
    number = hand.start("print_and_crash")
    assert hand.outcome_of(number).error_category == "crash"
    assert ("stdout", INFO, "below, before the crash") in said_by(hand, number)


def test_nothing_that_can_be_written_fails_a_run(hand: Hand) -> None:
    number = hand.start("print_strange_things")
    assert hand.outcome_of(number).result == "done"
    texts = [line.message for line in lines_of(hand, number)]
    assert texts.count("nul \N{REPLACEMENT CHARACTER} and ?") == 2
    assert "nul \N{REPLACEMENT CHARACTER} and \N{REPLACEMENT CHARACTER}" in texts
    for letter in "xyz":
        [long] = [text for text in texts if text.startswith(letter * 100)]
        assert len(long) <= 10_000
        assert "characters cut" in long
    assert any("UserWarning: mind the gap" in text for text in texts)
    assert "'%d' ('no number',) [could not be formatted: TypeError]" in texts


def test_it_is_seen_while_the_run_goes_on(hand: Hand, tmp_path: Path) -> None:
    release = tmp_path / "release"
    number = hand.start("say_and_wait", release=str(release))
    hand.wait(lambda: lines_of(hand, number))
    assert number not in hand.endings
    release.touch()
    assert hand.outcome_of(number).result == "released"


def test_a_flood_is_cut_keeping_its_last_lines(
    take_in_hand: TakeInHand,
) -> None:
    hand = take_in_hand(2, MAX_LOG_LINES=1000)
    number = hand.start("pour", megabytes=20)
    assert hand.outcome_of(number).result == "over"
    lines = lines_of(hand, number)
    assert 1_000 < len(lines) <= 1_000 + 2 + 100
    assert [line.message for line in lines[:1_000]] == ["a line of the flood"] * 1_000
    assert lines[1_000].message.startswith("Log truncated: MAX_LOG_LINES keeps 1000 lines")
    assert "lines omitted" in lines[1_001].message


def test_each_run_of_a_process_keeps_its_lines(take_in_hand: TakeInHand) -> None:
    hand = take_in_hand(1, MAX_EXECUTIONS_PER_CHILD=3)
    numbers = [hand.start("print_everywhere") for _ in range(3)]
    for number in numbers:
        assert hand.outcome_of(number).result == "said"
        assert len(lines_of(hand, number)) == 14


def test_secrets_do_not_leave_the_process(hand: Hand) -> None:
    number = hand.start("tell_secrets")
    outcome = hand.outcome_of(number)
    everything = f"{outcome} {hand.said[number]}"
    assert talkative.SECRET not in everything
    assert everything.count("[redacted]") >= 5


def test_hostile_bytes_are_kept_without_harm(take_in_hand: TakeInHand) -> None:
    hand = take_in_hand(2, MAX_LOG_LINES=100)
    hostile = hand.start("write_hostile_bytes")
    assert hand.run("answer").status == "success"
    assert hand.outcome_of(hostile).result == "written"
    lines = lines_of(hand, hostile)
    assert lines[-1].message == "the last line"
    assert all(len(line.message) <= 10_000 for line in lines)
    assert talkative.SECRET not in str(lines)
