"""The rooms of the package, and which modules may know each other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import grimp
import pytest

import scheduled_tasks

ROOT = Path(scheduled_tasks.__file__).parent
DESIGN = ROOT.parent / "docs" / "design.md"

#: What every Django app has, and the rooms. A new one needs a line in docs/design.md, too.
ENTRIES = {
    "__init__.py",
    "admin",
    "apps.py",
    "checks",
    "conf.py",
    "exceptions.py",
    "executors",
    "handlers",
    "lifecycle",
    "logs.py",
    "management",
    "migrations",
    "mistakes.py",
    "models",
    "monitoring",
    "operations",
    "outgoing",
    "probe.py",
    "py.typed",
    "runtime",
    "schedules",
    "signals.py",
    "static",
    "templates",
    "testing",
    "worker",
}
#: ``Task.save`` and ``Task.delete`` import it when they are called.
FROM_BELOW = ("scheduled_tasks.models.task", "scheduled_tasks.lifecycle.editing")
#: The methods of rows, of sets of rows and of tasks that write.
WRITING = {
    "bulk_create",
    "bulk_update",
    "create",
    "delete",
    "get_or_create",
    "reset_to_code",
    "save",
    "switch",
    "update",
    "update_or_create",
}
#: Where Django's admin saves or deletes what its form or its list holds.
HOOKS = {"save_model", "delete_model"}


def test_the_top_level_has_only_known_entries() -> None:
    found = {path.name for path in ROOT.iterdir() if path.name != "__pycache__"}
    assert found == ENTRIES


def test_docs_describe_every_room() -> None:
    layout = DESIGN.read_text().partition("## Layout")[2].partition("\n## ")[0]
    rooms = {name for name in ENTRIES if "." not in name}
    rooms -= {"migrations", "static", "templates"}
    assert {room for room in rooms if f"`{room}/`" not in layout} == set()


def test_modules_import_each_other_in_documented_pairs_only() -> None:
    """Imports for annotations count, too."""
    documented = {
        frozenset(f"scheduled_tasks.{name}" for name in pair)
        for pair in re.findall(r"^\| `([\w.]+)`, `([\w.]+)` \|", DESIGN.read_text(), re.MULTILINE)
    }
    assert documented, "docs/design.md lists them under Layout: | `a`, `b` | why |"
    graph = grimp.build_graph("scheduled_tasks")
    imports = {name: set(graph.find_modules_directly_imported_by(name)) for name in graph.modules}
    importer, imported = FROM_BELOW
    imports[importer].remove(imported)
    circles = {circle for circle in circles_of(imports) if len(circle) > 1}
    assert circles | {frozenset(FROM_BELOW)} == documented


@pytest.mark.parametrize("room", ["admin", "management"])
def test_the_admin_and_the_commands_write_through_operations(room: str) -> None:
    """Contracts in pyproject.toml keep them from the life cycle; this keeps them from rows."""
    written = {
        f"{path.relative_to(ROOT)}: {function.name} calls {node.func.attr}"
        for path in (ROOT / room).rglob("*.py")
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef) and function.name not in HOOKS
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if node.func.attr in WRITING
    }
    assert written == set()


@pytest.mark.parametrize("room", ["outgoing", "runtime", "worker"])
def test_no_handler_can_replace_the_clocks_of_others(room: str) -> None:
    """In threads, a handler that replaces ``time.monotonic`` replaces it for its worker."""
    looked_up = {
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if node.value.id == "time" and node.attr in {"monotonic", "perf_counter", "sleep", "time"}
    }
    assert looked_up == set(), "write `from time import monotonic`"


def circles_of(imports: dict[str, set[str]]) -> set[frozenset[str]]:
    """Return the sets of modules that import each other, directly or through others."""
    reached = {name: reachable(name, imports) for name in imports}
    return {
        frozenset(other for other in reached[name] if name in reached[other]) | {name}
        for name in imports
    }


def reachable(start: str, imports: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for name in imports[waiting.pop()] - found:
            found.add(name)
            waiting.append(name)
    return found
