"""Names: one class for each, one meaning for each verb, and tests of eight words at most."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
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
BOUND = re.compile(r"\b(MOST|LEAST|LONGEST|SHORTEST|HIGHEST|LOWEST)_[A-Z]")


@cache
def nodes(root: Path = PACKAGE) -> list[tuple[str, ast.AST]]:
    return [
        (str(path.relative_to(root)), node)
        for path in sorted(root.rglob("*.py"))
        if "migrations" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
    ]


def test_no_two_classes_have_one_name() -> None:
    names = Counter(node.name for _, node in nodes() if isinstance(node, ast.ClassDef))
    assert {name for name, count in names.items() if count > 1} <= NAMED_BY_DJANGO


def test_no_function_has_a_vague_name() -> None:
    found = {
        f"{path}: {node.name}"
        for path, node in nodes()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in VAGUE
    }
    assert found == set()


def test_bounds_are_called_max_and_min() -> None:
    found = {
        f"{path}: {node.id}"
        for path, node in [*nodes(), *nodes(TESTS)]
        if isinstance(node, ast.Name) and BOUND.match(node.id)
    }
    assert found == set()


def test_no_test_has_a_long_name() -> None:
    found = {
        f"{path}: {node.name}"
        for path, node in nodes(TESTS)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and len(node.name.split("_")) > 1 + MAX_WORDS
    }
    assert found == set()
