"""What docs/declaring-tasks.md shows is true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import get_commands, load_command_class

from scheduled_tasks import get_task
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.operations.sync import sync
from scheduled_tasks.testing import run_handler

PAGE = (Path(__file__).parents[2] / "docs/declaring-tasks.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def shop(registry: HandlerRegistry) -> dict[str, Any]:
    """Return what the examples define, as one module."""
    names: dict[str, Any] = {"__name__": "shop.tasks"}
    for code in PYTHON:
        exec(code, names)
    return names


def test_handlers_have_the_names_shown(shop: dict[str, Any], registry: HandlerRegistry) -> None:
    assert sorted(registry.handlers) == ["shop.cleanup", "shop.refund", "shop.sitemap"]
    assert registry.get("cleanup").function is shop["cleanup"]


@pytest.mark.django_db
def test_tasks_have_the_names_shown(shop: dict[str, Any]) -> None:
    sync()
    assert get_task("cleanup").schedule == "0 2 * * *"
    assert get_task("shop.sitemap").handler == "shop.sitemap"
    weekly = get_task("cleanup-weekly")
    assert (weekly.handler, weekly.payload) == ("shop.cleanup", {"max_age_days": 7})
    assert get_task("cleanup-everything").schedule == ""
    assert get_task("refund").schedule == ""


@pytest.mark.django_db
def test_a_second_cleanup_gets_the_longer_name(shop: dict[str, Any]) -> None:
    sync()
    exec(PYTHON[0], {"__name__": "library.tasks"})
    sync()
    assert get_task("cleanup").handler == "shop.cleanup"
    assert get_task("library.cleanup").handler == "library.cleanup"


def test_the_form_checks_the_payload(shop: dict[str, Any]) -> None:
    run = run_handler(shop["refund"], {"order": 7, "reason": "late"})
    assert run.result == {"order": 7, "reason": "late"}
    refused = run_handler(shop["refund"], {"order": 0, "reason": "late"})
    assert (refused.status, refused.error_category) == ("failed", "payload")


def test_the_options_of_synctasks_are_shown() -> None:
    command = load_command_class(get_commands()["synctasks"], "synctasks")
    options = set(command.create_parser("manage.py", "synctasks").format_help().split())
    shown = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", PAGE.partition("| command |")[2]))
    assert shown == {"--check", "--dry-run", "--force"}
    assert shown <= {option.strip("[]") for option in options}


@pytest.mark.django_db
def test_force_keeps_what_code_does_not_own(shop: dict[str, Any]) -> None:
    sync()
    task = get_task("cleanup")
    task.enabled, task.description, task.pause_reason = False, "Mine.", "Holidays"
    task.save()
    sync(force=True)
    task = get_task("cleanup")
    assert (task.enabled, task.description) == (False, "Delete old carts.")
    assert task.pause_reason == "Holidays"
