"""The log on the terminal, where the project shows it nowhere: in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.processes import ROOT

SHOW = """
import logging
from scheduled_tasks.runtime.logs.console import level_on_console, show_on_console
show_on_console({level})
"""
SAY = """
logging.getLogger("scheduled_tasks.worker.scheduler").debug("ours, in detail")
logging.getLogger("scheduled_tasks.worker.scheduler").info("ours")
logging.getLogger("shop.orders").debug("the shop's, in detail")
logging.getLogger("shop.orders").info("the shop's, password=hunter2xyz")
logging.getLogger("shop.orders").error("the shop is closed")
"""
IN_A_RUN = """
from scheduled_tasks.runtime.logs.capture import logged_to
from scheduled_tasks.runtime.logs.run_log import RunLog
from tests.executors.runs import run_of
from tests.support.recorders import FakeRecorder
with logged_to(RunLog(run_of(7), FakeRecorder()), alone=True):
    logging.getLogger("shop.orders").info("within")
    logging.getLogger("scheduled_tasks.run.one").info("of the context")
"""
PROJECTS_OWN = """
import logging, sys
handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(logging.Formatter("project: %(message)s"))
logging.getLogger({name!r}).addHandler(handler)
"""


def shown(*code: str) -> list[str]:
    """Return what a process shows that does this, without the moments before each line."""
    done = subprocess.run(
        [sys.executable, "-c", "".join(code)],
        cwd=ROOT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return [line[24:] if line[:2] == "20" else line for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("logging.ERROR", ["ERROR the shop is closed"]),
        (
            "logging.INFO",
            ["INFO ours", "INFO the shop's, password=[redacted]", "ERROR the shop is closed"],
        ),
        (
            "logging.DEBUG",
            [
                "DEBUG ours, in detail",
                "INFO ours",
                "INFO the shop's, password=[redacted]",
                "ERROR the shop is closed",
            ],
        ),
    ],
)
def test_what_nobody_shows_is_shown_once(level: str, expected: list[str]) -> None:
    assert shown(SHOW.format(level=level), SAY) == expected


def test_lines_of_runs_say_which() -> None:
    assert shown(SHOW.format(level="logging.INFO"), IN_A_RUN) == [
        "INFO within task=one execution=7",
        "INFO of the context task=one execution=7",
    ]


def test_runs_show_nothing_below_the_shown_level() -> None:
    assert shown(SHOW.format(level="logging.ERROR"), IN_A_RUN) == []


@pytest.mark.parametrize("name", ["", "scheduled_tasks"])
def test_a_project_that_shows_our_log_does_alone(name: str) -> None:
    said = shown(PROJECTS_OWN.format(name=name), SHOW.format(level="logging.INFO"), SAY)
    assert "INFO ours" not in said
    assert "project: the shop is closed" in said or name


def test_lines_the_project_shows_are_not_repeated() -> None:
    said = shown(PROJECTS_OWN.format(name="shop"), SHOW.format(level="logging.INFO"), SAY)
    assert sorted(said) == [
        "INFO ours",
        "project: the shop is closed",
        "project: the shop's, password=hunter2xyz",
    ]


def test_the_level_is_known_to_whoever_asks() -> None:
    assert shown(SHOW.format(level="10"), "print(level_on_console())") == ["10"]
    own = PROJECTS_OWN.format(name="")
    assert shown(own, SHOW.format(level="10"), "print(level_on_console())") == ["None"]
