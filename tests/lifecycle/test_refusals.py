"""Each sentence of the engine is spelled once; those on refused executions in one module."""

from __future__ import annotations

import ast
from collections import Counter

import pytest

from scheduled_tasks.models import Execution
from scheduled_tasks.operations.refusals import Obstacle, sentence
from tests.support.processes import ROOT

pytestmark = pytest.mark.without_database

ROOMS = ("lifecycle", "models", "operations", "executors", "worker")
#: Shorter texts are names and parts of log lines.
WORDS = 4


def texts_in(source: str) -> list[str]:
    """Return the sentences of a module, without its docstrings and its plural forms."""
    tree = ast.parse(source)
    left_out: set[ast.AST] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=docstring):
                left_out.add(docstring)
            case ast.Call(func=ast.Name("ngettext_lazy"), args=[_, plural]):
                left_out.add(plural)
    constants = (
        node for node in ast.walk(tree) if isinstance(node, ast.Constant) and node not in left_out
    )
    texts = (node.value.strip() for node in constants if isinstance(node.value, str))
    return [text for text in texts if len(text.split()) >= WORDS and text.endswith(".")]


def test_no_sentence_is_spelled_twice() -> None:
    counted = Counter(
        text
        for room in ROOMS
        for path in (ROOT / "scheduled_tasks" / room).rglob("*.py")
        for text in texts_in(path.read_text())
    )
    assert len(counted) > 30
    assert [text for text, count in counted.items() if count > 1] == []


@pytest.mark.parametrize("obstacle", Obstacle)
def test_each_obstacle_has_its_words(obstacle: Obstacle) -> None:
    row = Execution(pk=7, task_name="import", status="failed")
    assert sentence(row, obstacle).startswith("Execution 7 of 'import' ")
    assert "{" not in sentence(row, obstacle)
    for count in (1, 2):
        assert str(obstacle.counted % count).startswith(f"{count} ")
        assert str(obstacle.counted % count).endswith(".")
