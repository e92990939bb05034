"""The examples of docs/policies.md and docs/runs.md can be pasted into a module."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scheduled_tasks.handlers.registry import HandlerRegistry

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("page", ["policies.md", "runs.md"])
def test_each_example_registers_a_handler(page: str, registry: HandlerRegistry) -> None:
    examples = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    for example in examples:
        exec(example, {"__name__": "shop.tasks"})
    assert examples
    assert len(registry.handlers) == len(registry.declarations) == len(examples)
