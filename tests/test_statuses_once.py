"""Sets of statuses and triggers, and what a dead letter is, are defined in one module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduled_tasks.models import Execution
from scheduled_tasks.runtime import statuses
from scheduled_tasks.runtime.statuses import DEAD_LETTER, FINISHED, UNFINISHED, Status, Trigger
from tests.support.processes import ROOT

pytestmark = pytest.mark.without_database

SOURCES = [
    path
    for folder in ("scheduled_tasks", "benchmarks", "example_project")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "migrations" not in path.parts and path != Path(statuses.__file__)
]
VALUES = ({str(status) for status in Status}, {str(trigger) for trigger in Trigger})


def sets_in(source: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the displays of several statuses, or of several triggers, and nothing else."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            values = [value_of(item) for item in node.elts]
            if len(set(values)) > 1 and any(set(values) <= known for known in VALUES):
                yield node.lineno, values


def value_of(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str() as value):
            return value
        case ast.Attribute(attr=name) if name.isupper():
            return name.lower()
    return ""


def test_sets_of_statuses_and_triggers_have_names() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line} {values}"
        for path in SOURCES
        for line, values in sets_in(path.read_text())
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    ["('queued', 'running')", "{Status.FAILED, Status.MISSED}", "[Trigger.CLI, 'manual']"],
)
def test_a_set_without_a_name_is_found(source: str) -> None:
    assert list(sets_in(source))


def test_a_dead_letter_is_defined_in_one_place() -> None:
    assert [path for path in SOURCES if "resolved_at__isnull" in path.read_text()] == []
    assert Execution(**DEAD_LETTER).dead
    assert not Execution(**DEAD_LETTER | {"test_mode": True}).dead


def test_a_status_is_final_or_not() -> None:
    assert sorted([*FINISHED, *UNFINISHED]) == sorted(Status)
