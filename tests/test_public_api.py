"""What ``import scheduled_tasks`` offers, and what it leaves alone."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import scheduled_tasks

ROOT = str(Path(__file__).parent.parent)
LAZY = [
    *scheduled_tasks.MODULES["operations.executions"],
    *scheduled_tasks.MODULES["operations.tasks"],
    *scheduled_tasks.MODULES["operations.locks"],
]


def run_python(code: str, *options: str) -> str:
    """Run code in a process without settings and return what it prints; it must end well."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *options, "-c", code],
        env={"PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_public_names_are_sorted_and_there_once() -> None:
    assert scheduled_tasks.__all__ == sorted(set(scheduled_tasks.__all__))


@pytest.mark.parametrize("name", scheduled_tasks.__all__)
def test_every_public_name_is_importable_and_documented(name: str) -> None:
    value = getattr(scheduled_tasks, name)
    if name == "__version__":
        assert value.count(".") == 2
        return
    assert callable(value)
    assert value.__module__.startswith("scheduled_tasks.")
    assert value.__doc__, f"write a docstring for {name}"
    assert value.__doc__.strip().partition("\n")[0].endswith((".", ":")), value.__doc__


def test_all_names_come_with_a_star() -> None:
    namespace: dict[str, object] = {}
    exec("from scheduled_tasks import *", namespace)
    assert set(scheduled_tasks.__all__) <= set(namespace)


@pytest.mark.parametrize("module", ["scheduled_tasks.exceptions", "scheduled_tasks.signals"])
def test_the_modules_beside_it_are_documented(module: str) -> None:
    assert import_module(module).__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'scheduled_taks'"):
        scheduled_tasks.scheduled_taks  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError, match="nothing"):
        exec("from scheduled_tasks import nothing")


def test_tasks_can_be_declared_before_apps_and_settings() -> None:
    printed = run_python(
        "from scheduled_tasks import Cron, TaskContext, declare, scheduled_task\n"
        "@scheduled_task(Cron('0 2 * * *', timezone='Europe/Berlin'), payload={'a': 1})\n"
        "def cleanup(context: TaskContext, *, a: int = 0): pass\n"
        "declare(cleanup, 'every 15 minutes', name='often')\n"
        "from django.apps import apps; from django.conf import settings\n"
        "print(settings.configured, apps.ready)"
    )
    assert printed == "False False"


def test_importing_the_package_imports_nothing_else() -> None:
    """There is no Django under -S, where site-packages are left out."""
    code = (
        f"import sys; sys.path.insert(0, {ROOT!r}); import scheduled_tasks\n"
        "print(*(name for name in sys.modules if name.startswith(('django', 'scheduled_tasks'))))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["scheduled_tasks"]


def test_handlers_and_values_know_no_orm() -> None:
    loaded = run_python(
        "import sys\n"
        "from scheduled_tasks import Cron, Partial, Retry, TaskContext, scheduled_task\n"
        "print(*(name for name in sys.modules if name.startswith('scheduled_tasks')))"
    ).split()
    forbidden = ("models", "lifecycle", "operations", "executors", "worker", "admin")
    assert "scheduled_tasks.handlers.registry" in loaded
    for name in loaded:
        assert not name.removeprefix("scheduled_tasks.").startswith(forbidden), name


def test_optional_packages_are_left_alone() -> None:
    loaded = run_python(
        "import sys; from scheduled_tasks import Cron, TaskContext, scheduled_task\n"
        "print(*sys.modules)"
    ).split()
    optional = {
        "apprise",
        "celery",
        "environ",
        "ninja",
        "prometheus_client",
        "psycopg",
        "psycopg2",
        "pydantic",
        "requests",
    }
    assert optional.isdisjoint(loaded)
    assert "django.contrib.admin" not in loaded


@pytest.mark.parametrize("name", LAZY)
def test_names_that_need_apps_are_in_operations(name: str) -> None:
    module = getattr(scheduled_tasks, name).__module__
    assert module.startswith("scheduled_tasks.operations.")


def test_a_name_that_needs_apps_fails_clearly() -> None:
    printed = run_python(
        "import scheduled_tasks\n"
        "try: scheduled_tasks.run_task_now\n"
        "except Exception as error: print(type(error).__name__)"
    )
    assert printed in {"ImproperlyConfigured", "AppRegistryNotReady"}


def test_no_assertion_guards_anything() -> None:
    assert run_python("import scheduled_tasks; print(scheduled_tasks.__version__)", "-OO") == (
        scheduled_tasks.__version__
    )
