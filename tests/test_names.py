"""Names: one class for each, one meaning for each verb, and tests of eight words at most."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import scheduled_tasks

PACKAGE = Path(scheduled_tasks.__file__).parent
TESTS = Path(__file__).parent
MAX_WORDS = 8
#: Classes that Django looks for by these names.
NAMED_BY_DJANGO = {"Command", "Media", "Meta"}
#: Verbs that say nothing of what a function does.
VAGUE = {"look", "take", "hear", "say", "tell", "note", "go_on"}
#: Bounds are called MAX_ and MIN_.
BOUND = re.compile(r"^\s*((?:MOST|LEAST|LONGEST|SHORTEST|HIGHEST|LOWEST)_[A-Z]\w*)", re.MULTILINE)
CLASS = re.compile(r"^\s*class (\w+)[:(\[]", re.MULTILINE)
FUNCTION = re.compile(r"^\s*(?:async )?def (\w+)[(\[]", re.MULTILINE)
TEST = re.compile(r"^\s*(?:async )?def (test_\w+)", re.MULTILINE)


def test_no_two_classes_have_one_name() -> None:
    names = Counter(matches(CLASS, PACKAGE))
    assert len(names) > 100
    assert {name for name, count in names.items() if count > 1} <= NAMED_BY_DJANGO


def test_no_function_has_a_vague_name() -> None:
    names = matches(FUNCTION, PACKAGE)
    assert len(names) > 1_000
    assert VAGUE.intersection(names) == set()


def matches(pattern: re.Pattern[str], *roots: Path) -> list[str]:
    """Return what lines of these folders begin with; to parse them takes too long."""
    return [
        name
        for root in roots
        for path in root.rglob("*.py")
        if "migrations" not in path.parts
        for name in pattern.findall(path.read_text())
    ]


def test_bounds_are_called_max_and_min() -> None:
    assert matches(BOUND, PACKAGE, TESTS) == []


def test_no_test_has_a_long_name() -> None:
    names = matches(TEST, TESTS)
    assert len(names) > 1_000
    assert [name for name in names if len(name.split("_")) > 1 + MAX_WORDS] == []
