"""What docs/health.md says of checkscheduler."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.core.management import load_command_class

from scheduled_tasks.monitoring.health.check import ANSWER_SECONDS
from scheduled_tasks.monitoring.health.report import MAX_NAMED, STATEMENT_SECONDS, Level
from scheduled_tasks.monitoring.health.violations import Invariant
from scheduled_tasks.monitoring.outbox.claims import MAX_DOUBLINGS
from scheduled_tasks.monitoring.outbox.overdue import MAX_COUNTED, OVERDUE_AFTER
from scheduled_tasks.runtime.clock import MAX_SKEW

PAGE = (Path(__file__).parents[2] / "docs/health.md").read_text()
COMMANDS = re.findall(r"manage\.py(?:\", \"| )checkscheduler(.*)", PAGE)


def test_every_invariant_is_explained_once() -> None:
    table = PAGE.partition("## Invariants")[2]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [str(each) for each in Invariant]


def test_the_exit_codes_are_the_levels() -> None:
    rows = re.findall(r"^\| (\d) \| `(\w+)` \|", PAGE, re.MULTILINE)
    assert rows == [(str(int(level)), level.name) for level in Level]


def test_the_limits_are_those_of_the_code() -> None:
    assert (ANSWER_SECONDS, STATEMENT_SECONDS, MAX_NAMED) == (8, 5, 5)
    assert MAX_SKEW.total_seconds() == 2
    assert (OVERDUE_AFTER.total_seconds(), MAX_DOUBLINGS + 1, MAX_COUNTED) == (900, 10, 1_000)
    text = " ".join(PAGE.split())
    for words in (
        "answers within eight seconds",
        "longer than five seconds",
        "beyond five, problems are only counted",
        "by more than two seconds",
        "written 15 minutes ago",
        "after ten attempts",
        "more than a thousand",
    ):
        assert words in text


@pytest.mark.parametrize("line", COMMANDS)
def test_the_options_exist(line: str) -> None:
    parser = load_command_class("scheduled_tasks", "checkscheduler").create_parser("manage.py", "")
    assert parser.parse_args(re.findall(r"--[\w-]+", line))


def test_each_form_is_shown() -> None:
    assert len(COMMANDS) >= 3
