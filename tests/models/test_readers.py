"""Nothing is stored, or can be set, that nothing reads."""

from __future__ import annotations

import ast
import dataclasses
import functools
import re
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

import pytest
from django.apps import apps
from django.db import models

from scheduled_tasks.conf import AppSettings
from tests.support.sources import PACKAGE, modules_of_package

pytestmark = pytest.mark.without_database

#: Rooms that never see a row: what they call by the name of a column is something else.
ROWLESS = ("conf.py", "exceptions.py", "executors/process", "handlers", "runtime", "schedules")

MODELS = tuple(apps.get_app_config("scheduled_tasks").get_models())
COLUMNS = sorted(
    {(field.model.__name__, field.name) for row in MODELS for field in row._meta.concrete_fields}
)


class Readers(ast.NodeVisitor):
    """Collects the names that a module reads.

    These do not count as readers: what is assigned to, keys of dictionaries, lists of columns in
    capitals, indexes and constraints, and keyword arguments (except those of ``filter`` and the
    like).
    """

    QUERIES = ("filter", "exclude", "get", "Q", "When")

    def __init__(self) -> None:
        self.found: set[str] = set()

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.ctx, ast.Load):
            self.found.add(node.attr)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.found |= set(node.value.lstrip("-").split("__"))

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func
        if (called.id if isinstance(called, ast.Name) else called) in self.QUERIES:
            for keyword in node.keywords:
                self.found |= set((keyword.arg or "").split("__"))
        self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> None:
        for value in node.values:
            self.visit(value)

    def visit_Assign(self, node: ast.Assign) -> None:
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        if not any(name.isupper() for name in names):
            self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if not (isinstance(node.target, ast.Name) and node.target.id.isupper()):
            self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        if node.name != "Meta":
            self.generic_visit(node)


@functools.cache
def names_of(path: Path) -> set[str]:
    readers = Readers()
    readers.visit(modules_of_package()[path])
    return readers.found


def names_read(*without: str) -> set[str]:
    paths = modules_of_package()
    read = [path for path in paths if not any(path.is_relative_to(room) for room in without)]
    return set().union(*map(names_of, read))


def test_each_column_is_read() -> None:
    pages = "".join(path.read_text() for path in PACKAGE.rglob("*.html"))
    read = names_read(*ROWLESS) | set(re.findall(r"\.(\w+)", pages))
    assert [f"{model}.{name}" for model, name in COLUMNS if name not in read] == []


def test_each_choice_is_used() -> None:
    kinds = {
        kind.__name__: kind
        for kind in models.TextChoices.__subclasses__()
        if kind.__module__.startswith("scheduled_tasks.")
    }
    used = names_by_class(kinds)
    unused = []
    for name, kind in kinds.items():
        elsewhere = set().union(*(names for place, names in used.items() if place != name))
        unused += [f"{name}.{one.name}" for one in kind if not elsewhere & {one.name, one}]
    assert unused == []


def names_by_class(kinds: Collection[str]) -> dict[str, set[str]]:
    """Return attributes and texts in the source, by the one of these classes they are in, or ""."""
    found: dict[str, set[str]] = defaultdict(set)
    left: list[tuple[str, ast.AST]] = [("", module) for module in modules_of_package().values()]
    while left:
        place, node = left.pop()
        match node:
            case ast.ClassDef(name=name) if name in kinds:
                place = name
            case ast.Attribute(attr=name) | ast.Constant(value=str() as name):
                found[place].add(name)
        left.extend((place, child) for child in ast.iter_child_nodes(node))
    return found


def test_each_setting_is_read() -> None:
    read = names_read("conf.py")
    assert [field.name for field in dataclasses.fields(AppSettings) if field.name not in read] == []
