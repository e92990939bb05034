"""What the README shows is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.core.management import get_commands
from django.test import override_settings

from scheduled_tasks.conf import AppSettings, load
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Execution, Task
from scheduled_tasks.monitoring.notifiers.loading import load_notifiers
from scheduled_tasks.operations.sync import sync
from scheduled_tasks.schedules import parse

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def snippet(containing: str) -> str:
    [found] = [code for code in PYTHON if containing in code]
    return found


@pytest.mark.django_db
def test_the_examples_work(registry: HandlerRegistry) -> None:
    names: dict[str, object] = {"__name__": "shop.tasks"}
    exec(snippet("@scheduled_task"), names)
    exec(snippet("import declare"), names)
    sync()
    assert Task.objects.get(name="cleanup-weekly").payload == {"max_age_days": 7}
    exec(snippet("register_task"), names)
    task = Task.objects.get(name="cleanup-eu")
    assert (task.handler, task.timezone, task.enabled) == ("shop.cleanup", "Europe/Berlin", False)
    assert Execution.objects.get(task=task).payload == {"dry_run": True}
    Execution.objects.update(status="failed", error_category="network")
    exec(snippet("dead_letters"), names)
    assert Execution.objects.get(trigger="requeue").payload == {"dry_run": True}


def test_the_settings_are_ones_that_exist() -> None:
    names: dict[str, dict[str, object]] = {}
    exec(snippet("SCHEDULED_TASKS = {"), names)
    shown = names["SCHEDULED_TASKS"]
    with override_settings(SCHEDULED_TASKS=shown):
        assert {name: str(each) for name, each in load_notifiers().items()} == {
            "ops": "ops@shop.example"
        }
    del shown["NOTIFIERS"]
    with override_settings(SCHEDULED_TASKS=shown):
        assert load() == AppSettings(), "the README shows the defaults"


def test_every_schedule_in_the_table_is_understood() -> None:
    table = README.partition("## Schedules")[2].partition("Or a value")[0]
    texts = re.findall(r"`([^`]+)`", "".join(re.findall(r"^\| `.*? \|", table, re.MULTILINE)))
    assert len(texts) >= 10
    for text in texts:
        assert parse(text) is not None


def test_every_command_in_the_table_exists() -> None:
    commands = re.findall(r"^\| `(\w+)", README.partition("## Commands")[2], re.MULTILINE)
    assert set(commands) <= set(get_commands())
    assert {"runscheduler", "runtask", "listtasks", "synctasks"} <= set(commands)
