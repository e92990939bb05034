"""The command that runs this suite: which phases it has, and what counts as coverage."""

from __future__ import annotations

import re

import pytest

from tests.__main__ import ENDURANCE, ON_EACH_DATABASE, Phase, endurance, parser, suite
from tests.support.coverage_by_room import Covered, by_room, lines
from tests.support.processes import ROOT


def phases(*arguments: str) -> list[Phase]:
    options, rest = parser().parse_known_args(arguments)
    return list(suite(rest, options))


@pytest.fixture(autouse=True)
def no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)


def test_each_database_runs_what_uses_a_database() -> None:
    first, second = phases()
    assert "-m" not in first.arguments
    assert list(second.arguments[-2:]) == ["-m", ON_EACH_DATABASE]


def test_marks_and_files_are_passed_on() -> None:
    first, second = phases("-m", "replicas or long", "tests/concurrency", "-x")
    assert list(first.arguments[-4:]) == ["-m", "(replicas or long)", "tests/concurrency", "-x"]
    assert f"(replicas or long) and {ON_EACH_DATABASE}" in second.arguments


@pytest.mark.parametrize("option", ["-n0", "-s", "--pdb", "--numprocesses=3"])
def test_no_workers_are_added_to_given_options(option: str) -> None:
    assert all(phase.arguments[0] == option for phase in phases("--quick", option))


def test_chaos_has_the_machine_to_itself() -> None:
    *others, chaos = phases("--long")
    assert list(chaos.arguments) == ["-m", "chaos"]
    assert all("long and not chaos" in " ".join(phase.arguments) for phase in others)


def test_the_longest_forms_are_documented_one_by_one() -> None:
    page = (ROOT / "docs/testing.md").read_text()
    assert [command for command in ENDURANCE if f"`{command}`" not in page] == []
    assert {phase.environment.get("CHAOS_SECONDS") for phase in endurance()} == {None, "3600"}


def test_a_room_below_the_limit_is_named() -> None:
    modules = {
        "scheduled_tasks/worker/engine.py": Covered(there=100, run=90),
        "scheduled_tasks/conf.py": Covered(there=10, run=10),
    }
    assert by_room(modules)["worker"].percent == 90
    assert [line for line in lines(modules) if "BELOW" in line] == [
        "   90.0 %  worker  BELOW 92 %",
    ]


def test_the_tests_that_hold_each_promise_are_there() -> None:
    named = re.findall(r"`(\w+/\w+\.py)::(\w+)`", (ROOT / "docs/testing.md").read_text())
    assert len(named) >= 5
    for file, test in named:
        assert f"def {test}(" in (ROOT / "tests" / file).read_text(), f"{file} has no {test}"
