"""The source of the package, parsed once in a process."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import scheduled_tasks

PACKAGE = Path(scheduled_tasks.__file__).parent


@cache
def modules_of_package() -> dict[Path, ast.Module]:
    """Return the modules by their paths below the package, without the migrations."""
    return {
        path.relative_to(PACKAGE): ast.parse(path.read_text())
        for path in sorted(PACKAGE.rglob("*.py"))
        if "migrations" not in path.parts
    }
