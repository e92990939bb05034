"""Functions that stand where a test wants them to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def function_of(module: str, name: str = "cleanup") -> Callable[..., Any]:
    """Return a function as it would be if it stood at the top of a module."""

    def function() -> None:
        """Clean up."""

    function.__module__, function.__qualname__, function.__name__ = module, name, name
    return function
