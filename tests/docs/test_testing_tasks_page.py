"""The examples of docs/testing-tasks.md are tests: here they are collected, and run."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.test import TestCase

from scheduled_tasks import testing
from scheduled_tasks.handlers.registry import registry
from tests.support.registries import isolated

PAGE = (Path(__file__).parents[2] / "docs" / "testing-tasks.md").read_text()
HANDLERS, *EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

pytestmark = pytest.mark.any_database


def shop() -> dict[str, ModuleType]:
    """Return the modules that the examples import."""
    package, tasks = ModuleType("shop"), ModuleType("shop.tasks")
    package.tasks = tasks  # type: ignore[attr-defined]
    return {"shop": package, "shop.tasks": tasks}


def collect(code: str) -> dict[str, Any]:
    """Return what an example defines, its classes marked as tests that ask for a database."""
    names: dict[str, Any] = {"__name__": __name__}
    exec(code, names)
    for value in names.values():
        if isinstance(value, type) and issubclass(value, TestCase) and value is not TestCase:
            pytest.mark.django_db(value)
    return {name: value for name, value in names.items() if not name.startswith("__")}


MODULES = shop()
with isolated(registry), pytest.MonkeyPatch.context() as patch:
    for name, module in MODULES.items():
        patch.setitem(sys.modules, name, module)
    exec(HANDLERS, vars(MODULES["shop.tasks"]))
    REGISTERED = (registry._registrations, registry._declared)
    DEFINED = [collect(example) for example in EXAMPLES]
for defined in DEFINED:
    globals().update({name: value for name, value in defined.items() if name not in globals()})


@pytest.fixture(autouse=True, scope="module")
def handlers() -> Iterator[None]:
    """Register the handlers of the page, and let its modules be found."""
    with isolated(registry), pytest.MonkeyPatch.context() as patch:
        registry._registrations, registry._declared = REGISTERED
        for name, module in MODULES.items():
            patch.setitem(sys.modules, name, module)
        yield


def test_every_example_is_collected_here_and_none_twice() -> None:
    assert HANDLERS.startswith("# shop/tasks.py")
    named = [name for defined in DEFINED for name in defined if is_test(name, defined[name])]
    assert len(named) == len(set(named))
    assert len(named) >= len(EXAMPLES)
    for defined in DEFINED:
        assert any(is_test(name, value) for name, value in defined.items())


def is_test(name: str, value: Any) -> bool:
    return name.startswith("test_") or (isinstance(value, type) and name.endswith("Tests"))


def test_every_public_name_is_documented_on_the_page() -> None:
    for name in set(testing.__all__) - {"HandlerRun"}:
        assert f"`{name}`" in PAGE, name
    for name in testing.HandlerRun.__dataclass_fields__:
        assert name == "handler" or f"`{name}`" in PAGE, name


@pytest.mark.parametrize("name", testing.__all__)
def test_every_public_name_says_what_it_is(name: str) -> None:
    value = getattr(testing, name)
    assert value.__doc__
    assert value.__doc__.partition("\n")[0].endswith(".")


def test_nothing_of_it_needs_pytest() -> None:
    for module in Path(testing.__path__[0]).glob("*.py"):
        assert "import pytest" not in module.read_text()
