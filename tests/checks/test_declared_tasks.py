"""The checks of the tasks that code declares."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from scheduled_tasks import declare, scheduled_task
from scheduled_tasks.handlers.registry import HandlerRegistry
from tests.checks.messages import found, ids
from tests.support.processes import ROOT
from tests.support.registries import isolated


def test_e005_a_declaration_for_no_handler(registry: HandlerRegistry) -> None:
    def undecorated() -> None: ...

    declare("shop.clenup", name="a")
    assert ids() == ["E005"]
    with isolated(registry):
        declare(undecorated, name="a")
        assert ids() == ["E005"]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"payload": {"dys": 3}}, "payload"),
        ({"payload": [1]}, "payload"),
        ({"payload": None}, "payload"),
        ({"payload": {"days": float("nan")}}, "payload"),
        ({"queue": ""}, "queue"),
        ({"queue": "q" * 101}, "queue"),
        ({"category": "c" * 101}, "category"),
        ({"priority": "high"}, "priority"),
        ({"on_lost": "panic"}, "on_lost"),
        ({"max_losses": -1}, "max_losses"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": timedelta(0)}, "timeout"),
        ({"timeout": "soon"}, "timeout"),
        ({"memory_limit_mb": 0}, "memory_limit_mb"),
        ({"metadata": {"recipients": 5}}, "metadata"),
        ({"executor": "celery"}, "executor"),
        ({"executor": "scheduled_tasks.executors.thread.ThreadExecutor"}, "executor"),
    ],
)
def test_e006_a_declaration_that_cannot_be_saved(
    registry: HandlerRegistry, options: dict[str, Any], field: str
) -> None:
    @scheduled_task("0 2 * * *", name="shop.cleanup", **options)
    def cleanup(*, days: int = 30) -> None: ...

    messages = found()
    assert {message.id for message in messages} == {"scheduled_tasks.E006"}
    assert len(messages) == 1
    assert f"cannot be saved because of its {field}: " in messages[0].msg
    assert "shop.cleanup" in messages[0].msg


@pytest.mark.parametrize("name", ["Has Spaces", "ÜBER", "-x", "x" * 101, "a/b", "a\0", "UPPER"])
def test_e006_a_name_that_no_task_can_have(registry: HandlerRegistry, name: str) -> None:
    @scheduled_task(name="shop.cleanup")
    def cleanup() -> None: ...

    declare(cleanup, name=name)
    messages = found()
    assert {message.id for message in messages} == {"scheduled_tasks.E006"}
    assert "because of its name: " in messages[0].msg


def test_e006_a_schedule_without_required_arguments(
    registry: HandlerRegistry,
) -> None:
    @scheduled_task("0 2 * * *", name="shop.export")
    def export(*, customer: str) -> None: ...

    assert ids() == ["E006"]


def test_a_manual_task_may_lack_required_arguments(registry: HandlerRegistry) -> None:
    @scheduled_task(name="shop.export")
    def export(*, customer: str) -> None: ...

    assert ids() == []


def test_e007_two_tasks_of_one_name(registry: HandlerRegistry) -> None:
    @scheduled_task(name="shop.cleanup")
    def cleanup() -> None: ...

    declare(cleanup, "0 1 * * *", name="twice")
    declare(cleanup, "0 2 * * *", name="twice")
    [message] = found()
    assert message.id == "scheduled_tasks.E007"
    assert "'twice'" in message.msg


def test_e007_a_name_that_a_decorated_function_gets(registry: HandlerRegistry) -> None:
    @scheduled_task("@daily", name=None)
    def cleanup() -> None: ...

    declare(cleanup, "0 1 * * *", name="cleanup")
    [message] = found()
    assert message.id == "scheduled_tasks.E007"
    assert "'cleanup', which is that of the task that @scheduled_task declares" in message.msg


def test_e010_a_refused_declaration_is_one_sentence(tmp_path: Path) -> None:
    """No command ends in a traceback, and nothing is parked for it."""
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger/__init__.py").touch()
    (tmp_path / "ledger/tasks.py").write_text(
        "from scheduled_tasks import scheduled_task\n\n\n"
        "@scheduled_task('0 25 * * *')\ndef close(): ...\n"
    )
    (tmp_path / "ledger_settings.py").write_text(
        "from tests.settings import *\n"
        "INSTALLED_APPS = [*INSTALLED_APPS, 'ledger']\nSCHEDULED_TASKS = {}\n"
        f"DATABASES['default']['NAME'] = {str(tmp_path / 'db.sqlite3')!r}\n"
    )
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "ledger_settings",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}",
        "PYTHONPATH": str(tmp_path),
    }
    for command in ("migrate", "runscheduler", "synctasks"):
        done = subprocess.run(
            [sys.executable, "manage.py", command],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "ledger/tasks.py, line 4: " in done.stderr
        assert "25" in done.stderr
        assert "Traceback" not in done.stderr
