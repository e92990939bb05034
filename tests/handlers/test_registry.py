"""Handlers: how they are registered, named, found, and refused."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import AppRegistryNotReady
from django.test import override_settings

from scheduled_tasks import Cron, declare, scheduled_task
from scheduled_tasks.exceptions import (
    InvalidHandler,
    UnknownHandler,
)
from scheduled_tasks.handlers.registry import Handler, HandlerRegistry, autodiscover, default_key
from tests.support.functions import function_of
from tests.support.registries import isolated


class Callme:
    def __call__(self) -> None: ...


@pytest.mark.parametrize(
    "thing", [print, functools.partial(print), Callme(), Callme, staticmethod(print), len, 5, None]
)
def test_what_is_no_function_is_refused_at_once(registry: HandlerRegistry, thing: Any) -> None:
    with pytest.raises(InvalidHandler, match="is not a function") as refused:
        scheduled_task("0 2 * * *")(thing)
    assert isinstance(refused.value, TypeError)
    assert not registry.handlers
    assert not registry.declarations


def test_a_generator_is_refused_at_once(registry: HandlerRegistry) -> None:
    def generator() -> Any:
        yield 1

    with pytest.raises(InvalidHandler, match="yields"):
        scheduled_task(generator)


@pytest.mark.parametrize(
    ("module", "key"),
    [
        ("tests.jobs.tasks", "jobs.cleanup"),
        ("tests.jobs.deep.down", "jobs.cleanup"),
        ("example_project.shop.tasks", "shop.cleanup"),
        ("django.contrib.auth.tasks", "auth.cleanup"),
        ("nowhere.tasks", "nowhere.cleanup"),
        ("nowhere", "nowhere.cleanup"),
        ("__main__", "main.cleanup"),
    ],
)
def test_a_key_is_app_label_and_function_name(module: str, key: str) -> None:
    assert default_key(function_of(module)) == key


def test_a_short_name_finds_its_only_handler(registry: HandlerRegistry) -> None:
    scheduled_task(function_of("shop.tasks"))
    assert registry.get("cleanup") is registry.get("shop.cleanup")
    scheduled_task(function_of("blog.tasks"))
    with pytest.raises(
        UnknownHandler, match=r"Several handlers .* use one of blog\.cleanup, shop\.cleanup\."
    ):
        registry.get("cleanup")
    assert registry.get("shop.cleanup").key == "shop.cleanup"


def test_a_full_key_wins_over_short_names(registry: HandlerRegistry) -> None:
    scheduled_task(function_of("shop.tasks"))
    scheduled_task(name="cleanup")(function_of("blog.tasks"))
    assert registry.get("cleanup").key == "cleanup"


def test_an_unknown_name_is_answered_with_near_handlers(registry: HandlerRegistry) -> None:
    with pytest.raises(UnknownHandler, match="decorate a function with @scheduled_task"):
        registry.get("cleanup")
    scheduled_task(function_of("shop.tasks"))
    for typed in ("clenup", "shop.cleanups", "shop_cleanup"):
        with pytest.raises(UnknownHandler, match=r"Did you mean shop\.cleanup\?") as refused:
            registry.get(typed)
        assert isinstance(refused.value, LookupError)
    with pytest.raises(UnknownHandler, match=r"Registered: shop\.cleanup\.$"):
        registry.get("zzz")
    for number in range(20):
        scheduled_task(function_of("shop.tasks", f"job_{number}"))
    with pytest.raises(UnknownHandler, match=r"Registered: (\S+, ){10}…\.$"):
        registry.get("zzz")


@pytest.mark.parametrize("name", ["", None, 5, "\0", "\ud800", "x" * 100_000])
def test_an_impossible_name_is_an_unknown_handler(registry: HandlerRegistry, name: Any) -> None:
    scheduled_task(function_of("shop.tasks"))
    with pytest.raises(UnknownHandler):
        registry.get(name)


def test_two_functions_with_one_key_are_refused(registry: HandlerRegistry) -> None:
    scheduled_task(function_of("tests.jobs.tasks"))
    scheduled_task(function_of("tests.jobs.more"))
    with pytest.raises(InvalidHandler) as refused:
        registry.get("cleanup")
    for place in ("'jobs.cleanup'", "tests.jobs.tasks.cleanup", "tests.jobs.more.cleanup"):
        assert place in str(refused.value)
    scheduled_task(name="jobs.other")(function_of("tests.jobs.more"))
    with pytest.raises(InvalidHandler):
        registry.declarations  # noqa: B018


def test_redefining_a_function_replaces_it_and_its_declarations(
    registry: HandlerRegistry,
) -> None:
    for schedule in ("0 1 * * *", "0 2 * * *"):
        function = function_of("shop.tasks")
        scheduled_task(schedule)(function)
        declare(function, schedule, name="second")
    assert registry.get("shop.cleanup").function is function
    assert [(item.name, item.schedule) for item in registry.declarations] == [
        (None, "0 2 * * *"),
        ("second", "0 2 * * *"),
    ]


def test_a_loop_may_register_one_function_repeatedly(registry: HandlerRegistry) -> None:
    for tenant in ("a", "b", "c"):

        @scheduled_task(name=f"sync.{tenant}")
        def sync() -> None: ...

    assert sorted(registry.handlers) == ["sync.a", "sync.b", "sync.c"]
    assert len(registry.declarations) == 3


def test_a_handler_registered_after_a_lookup_is_found(registry: HandlerRegistry) -> None:
    assert registry.handlers == {}
    scheduled_task(function_of("shop.tasks"))
    assert list(registry.handlers) == ["shop.cleanup"]


def test_tasks_are_declared_by_function_key_or_name(registry: HandlerRegistry) -> None:
    function = scheduled_task(function_of("shop.tasks"))
    declare(function, "0 1 * * *", name="a", payload={"x": 1})
    declare("shop.cleanup", "0 2 * * *", name="b")
    declare("cleanup", Cron("0 3 * * *", timezone="Asia/Tokyo"), name="c")
    assert {item.handler for item in registry.declarations} == {"shop.cleanup"}
    assert [item.name for item in registry.declarations] == [None, "a", "b", "c"]
    assert {item.description for item in registry.declarations} == {"Clean up."}


def test_a_declaration_may_come_before_its_handler(registry: HandlerRegistry) -> None:
    declare("shop.cleanup", name="early")
    scheduled_task(function_of("shop.tasks"))
    assert [item.handler for item in registry.declarations] == ["shop.cleanup"] * 2


def test_a_declaration_without_handler_is_an_unknown_handler(registry: HandlerRegistry) -> None:
    scheduled_task(function_of("shop.tasks"))
    declare("shop.clenup", name="a")
    with pytest.raises(UnknownHandler, match=r"Did you mean shop\.cleanup"):
        registry.declarations  # noqa: B018


def test_declaring_a_function_that_is_no_handler_fails(
    registry: HandlerRegistry,
) -> None:
    function = scheduled_task(function_of("shop.tasks"))

    @functools.wraps(function)
    def wrapper() -> None: ...

    declare(wrapper, name="a")
    with pytest.raises(UnknownHandler, match="decorate it with @scheduled_task"):
        registry.declarations  # noqa: B018


def test_a_declaration_needs_a_name() -> None:
    with pytest.raises(TypeError, match="name"):
        declare("shop.cleanup")  # type: ignore[call-arg]


def test_equal_code_has_equal_digests_whatever_its_order(registry: HandlerRegistry) -> None:
    functions = [function_of("shop.tasks", name) for name in "abc"]
    for function in functions:
        scheduled_task("0 2 * * *", payload={"x": 1, "y": 2})(function)
    digest = registry.digest
    with isolated(registry):
        assert registry.digest != digest
        for function in reversed(functions):
            scheduled_task("0 2  * * *", payload={"y": 2, "x": 1})(function)
        assert registry.digest == digest
        declare("shop.a", name="more")
        assert registry.digest != digest
    assert registry.digest == digest


def test_isolation_ends_also_after_an_error(registry: HandlerRegistry) -> None:
    scheduled_task(function_of("shop.tasks"))
    with pytest.raises(UnknownHandler), isolated(registry):
        registry.get("shop.cleanup")
    assert list(registry.handlers) == ["shop.cleanup"]


def test_a_handler_reads_its_signature_once() -> None:
    handler = Handler("shop.cleanup", function_of("shop.tasks"))
    assert handler.spec is handler.spec
    assert repr(handler) == "<Handler shop.cleanup>"

    def bad(*args: int) -> None: ...

    with pytest.raises(InvalidHandler, match="args"):
        Handler("shop.bad", bad).spec  # noqa: B018


def test_autodiscover_imports_the_modules_in_the_settings(
    registry: HandlerRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "tests.jobs.tasks")
    autodiscover()
    assert "jobs.hold" in registry.handlers
    monkeypatch.delitem(sys.modules, "tests.jobs.tasks")
    with isolated(registry), override_settings(SCHEDULED_TASKS={"DISCOVER_MODULES": []}):
        autodiscover()
        assert registry.handlers == {}


@pytest.mark.parametrize("code", ["exit(2)", "raise SystemExit", "import sys; sys.exit('no')"])
def test_a_module_that_exits_is_named(
    registry: HandlerRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    (tmp_path / "exiting.py").write_text(f"\n{code}\n")
    monkeypatch.setattr("tests.jobs.__path__", [str(tmp_path)])
    with override_settings(SCHEDULED_TASKS={"DISCOVER_MODULES": ["exiting"]}):
        autodiscover()
    [problem] = registry.problems
    registry.problems.clear()
    assert problem.startswith(f"{tmp_path}/exiting.py, line 2: tests.jobs.exiting ends the process")
    assert "SystemExit(" in problem


def test_bad_settings_are_left_to_the_check(registry: HandlerRegistry) -> None:
    with override_settings(SCHEDULED_TASKS={"CONCURENCY": 5}):
        autodiscover()


def test_handlers_are_unavailable_before_apps_are_loaded(
    registry: HandlerRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.apps import apps  # noqa: PLC0415

    scheduled_task(function_of("tests.jobs.tasks"))
    with monkeypatch.context() as patched:
        patched.setattr(apps, "apps_ready", False)
        with pytest.raises(AppRegistryNotReady):
            registry.handlers  # noqa: B018
    assert list(registry.handlers) == ["jobs.cleanup"], "and nothing wrong is remembered"


def test_a_function_without_a_module_has_a_key(registry: HandlerRegistry) -> None:
    namespace: dict[str, Any] = {}
    exec("def loose(): pass", namespace)
    scheduled_task(namespace["loose"])
    assert list(registry.handlers) == ["main.loose"]
