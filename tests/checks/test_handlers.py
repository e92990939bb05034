"""The checks of handlers: their keys and what they can be called with."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from scheduled_tasks import scheduled_task
from scheduled_tasks.handlers.registry import HandlerRegistry
from tests.checks.messages import found


def test_e003_two_handlers_of_one_key(registry: HandlerRegistry) -> None:
    @scheduled_task(name="shop.cleanup")
    def one() -> None: ...

    @scheduled_task(name="shop.cleanup")
    def other() -> None: ...

    [message] = found()
    assert message.id == "scheduled_tasks.E003"
    assert "test_handlers" in message.msg


def test_e004_a_handler_not_callable_with_a_payload(registry: HandlerRegistry) -> None:
    @scheduled_task(name="shop.cleanup")
    def cleanup(*things: int) -> None: ...

    @scheduled_task(name="shop.fine")
    def fine(*, days: int = 3) -> None: ...

    [message] = found()
    assert (message.id, message.obj) == ("scheduled_tasks.E004", "shop.cleanup")


def test_e003_two_functions_of_one_name(
    registry: HandlerRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("shop.doubled")
    module.__spec__ = ModuleSpec("shop.doubled", None)
    monkeypatch.setitem(sys.modules, "shop.doubled", module)
    code = (
        "from scheduled_tasks import scheduled_task\n"
        "@scheduled_task('@daily')\ndef cleanup(): ...\n"
        "@scheduled_task('@hourly')\ndef cleanup(): ...\n"
    )
    exec(code, vars(module))
    [message] = found()
    assert message.id == "scheduled_tasks.E003"
    assert "shop.doubled.cleanup (line 4) and shop.doubled.cleanup (line 2)" in message.msg


def test_a_reload_defines_functions_again(
    registry: HandlerRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("shop.reloaded")
    monkeypatch.setitem(sys.modules, "shop.reloaded", module)
    for schedule in ("@daily", "@hourly"):
        module.__spec__ = ModuleSpec("shop.reloaded", None)  # as importlib.reload() does
        code = f"@scheduled_task({schedule!r})\ndef cleanup(): ...\n"
        exec(f"from scheduled_tasks import scheduled_task\n{code}", vars(module))
    assert found() == []
    assert [item.schedule for item in registry.declarations] == ["@hourly"]
