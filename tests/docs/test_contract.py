"""docs/contract.md and the code have the same names: what one has, the other has too."""

from __future__ import annotations

import logging
import re
import tomllib
from ast import literal_eval
from collections.abc import Callable, Iterable
from importlib import import_module
from inspect import isfunction, signature
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.management import _get_all_permissions
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand
from django.db.models import TextChoices
from django.dispatch import Signal

import scheduled_tasks
from scheduled_tasks import conf, exceptions, probe, signals
from scheduled_tasks.handlers import declarations
from scheduled_tasks.models import Execution, ExecutionLog, Task, Worker
from scheduled_tasks.monitoring import notifiers
from scheduled_tasks.monitoring.notifiers.notification import CLEARED, RAISED, REMINDER
from scheduled_tasks.monitoring.notifiers.phrases import TEST
from scheduled_tasks.monitoring.notifiers.webhook import SIGNATURE
from scheduled_tasks.operations import definitions, records
from tests.support.notifications import make_notification

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "scheduled_tasks"
PAGE = (ROOT / "docs/contract.md").read_text()
SOURCE = {path: path.read_text() for path in PACKAGE.rglob("*.py")}


def section(title: str) -> str:
    [text] = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    return text


def rows(title: str) -> list[list[str]]:
    """Return the cells of the rows of a section's tables, without headings."""
    lines = re.findall(r"^\| (.*) \|$", section(title), re.MULTILINE)
    return [line.split(" | ") for line in lines[1:]]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def first_column(title: str) -> list[str]:
    return [name for row in rows(title) for name in quoted(row[0])]


def by_first_column(title: str) -> dict[str, list[str]]:
    return {quoted(first)[0]: quoted(second) for first, second, *_ in rows(title)}


def assert_same(page: Iterable[str], code: Iterable[str]) -> None:
    """Fail with what is missing on the page or in the code, and with names that are there twice."""
    page, code = list(page), set(code)
    assert len(page) == len(set(page)), "the page has a name twice"
    assert set(page) == code, f"page only: {set(page) - code}; code only: {code - set(page)}"


def test_settings_and_their_defaults() -> None:
    known = conf.AppSettings()
    defaults = {name: getattr(known, name) for name in conf.AppSettings.__dataclass_fields__}
    page = by_first_column("Settings")
    assert_same(first_column("Settings"), defaults)
    for name, default in defaults.items():
        [text] = page[name]
        shown = getattr(conf, text) if text.isidentifier() and hasattr(conf, text) else None
        assert default == (literal_eval(text) if shown is None else shown), name


def options_of(command: BaseCommand) -> set[str]:
    parser = command.create_parser("manage.py", "command")
    return {name for action in parser._actions for name in action.option_strings or [action.dest]}


def test_commands_and_their_options() -> None:
    ours = [name for name, app in get_commands().items() if app == "scheduled_tasks"]
    page, every_command = by_first_column("Commands"), options_of(BaseCommand())
    assert_same(first_column("Commands"), ours)
    for name in ours:
        command = load_command_class("scheduled_tasks", name)
        assert_same(page[name], options_of(command) - every_command)


def test_the_probe_and_its_options() -> None:
    [said] = re.findall(
        r"`python -m scheduled_tasks\.probe PATH` is .*? It takes ([^,]*),", PAGE, re.DOTALL
    )
    parser = probe.parser()
    assert_same(
        quoted(said),
        {name for action in parser._actions for name in action.option_strings} - {"-h", "--help"},
    )
    assert parser.prog == "python -m scheduled_tasks.probe"


def public(module: ModuleType) -> set[str]:
    if module is exceptions:
        return {name for name, value in vars(module).items() if own_class(value, module)}
    return set(module.__all__)


def own_class(value: object, module: ModuleType) -> bool:
    return isinstance(value, type) and value.__module__ == module.__name__


def test_public_names() -> None:
    page = by_first_column("Python")
    assert {"scheduled_tasks", "scheduled_tasks.testing", "scheduled_tasks.logs"} <= set(page)
    for path, names in page.items():
        assert_same(names, public(import_module(path)))
    assert set(exceptions_at_the_top()) <= set(page["scheduled_tasks.exceptions"])


def exceptions_at_the_top() -> list[str]:
    return [
        name
        for name in scheduled_tasks.__all__
        if own_class(getattr(scheduled_tasks, name), exceptions)
    ]


def test_the_names_in_prose_below_public_names() -> None:
    for dotted in re.findall(r"`(scheduled_tasks\.[\w.]+\.\w+)`", section("Python")):
        module, _, name = dotted.rpartition(".")
        if dotted not in by_first_column("Python"):
            assert hasattr(import_module(module), name), dotted
    for method in ("next_after", "upcoming", "describe"):
        assert f"`{method}`" in section("Python")
        assert hasattr(import_module("scheduled_tasks.schedules").Schedule, method)


def test_notifiers_and_their_options() -> None:
    page = by_first_column("Notifiers")
    assert_same(first_column("Notifiers"), set(public(notifiers)) - {"Notification", "Notifier"})
    for name, options in page.items():
        assert_same(options, keyword_only(getattr(notifiers, name)))
    assert f"`{SIGNATURE}: t=UNIX,v1=HEX`" in section("Notifiers")


def test_options_of_a_task() -> None:
    page = [name for row in rows("Options of a task") for name in quoted(row[1])]
    assert_same(page, declarations.Options.__annotations__)


def test_options_of_one_function_alone() -> None:
    more = section("Options of a task").partition("In addition:")[2]
    decorator, _, registered = more.partition("- `register_task()` takes")
    for function in (scheduled_tasks.scheduled_task, scheduled_tasks.declare):
        [names] = re.findall(rf"`@?{function.__name__}(?:\(\))?` takes ([^,:]*)", decorator)
        assert_same(quoted(names), keyword_only(function))
    fields = set(definitions.FURTHER_FIELDS).difference(declarations.Options.__annotations__)
    assert_same(quoted(registered), fields | {"retry", "by"})


def test_operations_that_take_the_time() -> None:
    [said] = re.findall(r"^(.*) take `now`", section("Options of a task"), re.MULTILINE)
    public = [getattr(scheduled_tasks, name) for name in scheduled_tasks.__all__]
    taking = [item for item in public if isfunction(item) and "now" in keyword_only(item)]
    assert_same(quoted(said), [f"{item.__name__}()" for item in taking])


def keyword_only(function: Callable[..., Any]) -> list[str]:
    parameters = signature(function).parameters.values()
    return [item.name for item in parameters if item.kind is item.KEYWORD_ONLY]


def stored_choices() -> dict[str, list[str]]:
    found = {}
    for model in apps.get_app_config("scheduled_tasks").get_models():
        if model._meta.proxy:
            continue
        for name in dir(model):
            value = getattr(model, name, None)
            if isinstance(value, type) and issubclass(value, TextChoices):
                found[f"{model.__name__}.{name}"] = list(value.values)
    return found


def test_values_that_are_stored() -> None:
    page, code = by_first_column("Values that are stored"), stored_choices()
    assert_same(first_column("Values that are stored"), code)
    for name, values in code.items():
        assert_same(page[name], values)


def test_keys_of_json() -> None:
    page = {kind: quoted(keys) for kind, keys in rows("JSON")}
    code = {
        "task": records.task_record(Task()),
        "execution": records.execution_record(Execution()),
        "log line": records.log_record(ExecutionLog(level=logging.INFO, message="")),
        "worker": records.worker_record(Worker()),
        "notification": make_notification().as_json(),
    }
    assert_same(page, code)
    for kind, record in code.items():
        assert_same(page[kind], record)
    assert {RAISED, REMINDER, CLEARED, TEST} <= set(quoted(section("JSON")))
    levels = {name for _, name in records.LEVELS} | {"debug"}
    assert levels <= set(quoted(section("JSON")))


def test_permissions() -> None:
    code = [
        codename
        for model in apps.get_app_config("scheduled_tasks").get_models()
        for codename, _ in _get_all_permissions(model._meta)
    ]
    assert_same(first_column("Permissions"), code)


def test_system_checks() -> None:
    modules = (text for path, text in SOURCE.items() if path.parent == PACKAGE / "checks")
    in_code = re.findall(r'id="(scheduled_tasks\.\w+)"', "\n".join(modules))
    page = (ROOT / "docs/checks.md").read_text()
    assert_same(re.findall(r"^\| `(scheduled_tasks\.\w\d+)`", page, re.MULTILINE), in_code)


def test_extras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert_same(first_column("Extras"), project["optional-dependencies"])


def test_signals() -> None:
    code = [name for name, value in vars(signals).items() if isinstance(value, Signal)]
    page = {quoted(name)[0]: quoted(arguments) for name, _, arguments in rows("Signals")}
    assert_same(first_column("Signals"), code)
    for name, arguments in page.items():
        given = {
            tuple(re.findall(r"(\w+)=", call))
            for text in SOURCE.values()
            for call in re.findall(rf"\bsend\({name}, ([^)]*)\)", text)
        }
        assert given == {("sender", *arguments)}


def test_loggers() -> None:
    named = {
        name
        for text in SOURCE.values()
        for name in re.findall(r'getLogger\("(scheduled_tasks[\w.]*)"\)', text)
    }
    assert_same(first_column("Logging"), named)


def test_keys_of_the_lines_of_executions() -> None:
    [text] = [text for text in SOURCE.values() if '"scheduled_tasks.executions"' in text]
    [keys] = re.findall(r"The keys: ([^.]*)\.", section("Logging"))
    assert_same(quoted(keys), re.findall(r"(\w+)=%", text))


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:)([^)#]+)", PAGE))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / "docs" / target).exists()
