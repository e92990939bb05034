"""Names that were meant, and mistakes that are said all at once."""

from __future__ import annotations

import pickle

import pytest

from scheduled_tasks.exceptions import InvalidSettings
from scheduled_tasks.mistakes import advice, all_mistakes, nearest, suggestion

pytestmark = pytest.mark.without_database


def test_the_nearest_name_in_any_case() -> None:
    assert suggestion("faild", ["failed", "missed"]) == "did you mean 'failed'?"
    assert suggestion("backend", ["BACKEND", "OPTIONS"]) == "did you mean 'BACKEND'?"
    assert suggestion(7, ["failed"]) == ""
    assert nearest("nightly", ["nightly-1", "nightly-2", "x"], most=3) == ["nightly-2", "nightly-1"]


def test_without_a_near_name_all_are_named() -> None:
    assert advice("zzz", ["ops", "boss"]) == "use one of ops, boss."
    assert advice("zzz", ["ops"]) == "use ops."
    assert advice("zzz", []) == "there are none."


def test_all_mistakes_are_raised_together() -> None:
    def read() -> None:
        with all_mistakes() as mistakes:
            mistakes.add("One.")
            for wrong in (InvalidSettings("Two.", "Three."), InvalidSettings()):
                with mistakes.collected():
                    raise wrong

    with pytest.raises(InvalidSettings) as raised:
        read()
    assert raised.value.mistakes == ("One.", "Two.", "Three.", "it is invalid.")
    assert str(pickle.loads(pickle.dumps(raised.value))) == "One. Two. Three. it is invalid."


def test_without_mistakes_nothing_is_raised() -> None:
    with all_mistakes():
        pass


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), all_mistakes() as mistakes, mistakes.collected():
        raise KeyError
