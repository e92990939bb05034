"""``runscheduler --reload`` on a project of its own whose code changes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from scheduled_tasks import register_task, run_task_now, scheduled_task
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Execution, Worker
from tests.concurrency.runs import fresh, wait_for
from tests.support.processes import LONG, alive, environment_of, options, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]

SETTINGS = """
from tests.settings import *
INSTALLED_APPS = [*INSTALLED_APPS, "edited"]
"""
TASKS = """
from time import sleep
from scheduled_tasks import scheduled_task

@scheduled_task(name="edited.answer")
def answer(*, wait: float = 0):
    sleep(wait)
    return {result}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return the folder of a project with one app, whose handler returns 1."""
    app = tmp_path / "edited"
    app.mkdir()
    (app / "__init__.py").touch()
    (tmp_path / "edited_settings.py").write_text(SETTINGS)
    (tmp_path / "manage.py").write_text((Path(__file__).parents[2] / "manage.py").read_text())
    edit(tmp_path, TASKS.format(result=1))
    return tmp_path


def edit(project: Path, text: str) -> None:
    """Save a file as editors do: write another one and rename it."""
    (project / "new").write_text(text)
    (project / "new").rename(project / "edited/tasks.py")


@contextmanager
def reloading(project: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = environment_of(
        DJANGO_SETTINGS_MODULE="edited_settings",
        TEST_OPTIONS=options(),
        PYTHONPATH=os.pathsep.join([str(project), str(Path(__file__).parents[2])]),
        PYTHONDONTWRITEBYTECODE="1",
    )
    command = [sys.executable, "manage.py", "runscheduler", "--reload", "--no-sync", *arguments]
    with (
        (project / "log").open("w") as log,
        subprocess.Popen(command, cwd=project, env=environment, stderr=log) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def answered(registry: HandlerRegistry) -> None:
    """Make the task, whose handler only the workers have in full."""

    @scheduled_task(name="edited.answer")
    def answer(*, wait: float = 0) -> None: ...

    register_task("answered", "edited.answer", queue="edited")


def wait_for_log(project: Path, text: str, times: int = 1) -> None:
    wait_until(lambda: (project / "log").read_text().count(text) >= times, within=LONG)


def result() -> object:
    execution = run_task_now("answered")
    wait_for(execution, "success")
    return execution.result


@pytest.mark.long
@pytest.mark.usefixtures("answered")
def test_it_runs_changed_code_and_survives_errors(project: Path) -> None:
    with reloading(project, "--queues", "edited") as process:
        wait_for_log(project, "worker started")
        assert result() == 1
        held = run_task_now("answered", {"wait": 600})
        wait_for(held, "running")
        edit(project, TASKS.format(result=2))
        wait_for(held, "queued")
        assert fresh(held).losses == 0
        Execution.objects.filter(pk=held.pk).update(status="cancelled")
        wait_for_log(project, "worker started", 2)
        assert result() == 2
        edit(project, TASKS.format(result="("))
        wait_for_log(project, "waiting for a change")
        assert "SyntaxError" in (project / "log").read_text()
        edit(project, TASKS.format(result=3))
        wait_for_log(project, "worker started", 3)
        assert result() == 3
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(LONG) == 0
        assert not any(alive(each.pid) for each in family)
    states = Worker.objects.values_list("state", "queues")
    assert set(map(str, states)) == {"('stopped', ['edited'])"}
