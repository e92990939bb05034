"""What pruneexecutions deletes, prints and returns."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from scheduled_tasks.management.commands import pruneexecutions
from scheduled_tasks.models import Execution, Task
from tests.commands.conftest import Command
from tests.support.attempts import NOTHING
from tests.support.old_rows import add_lines, old_execution

pytestmark = pytest.mark.django_db


@pytest.fixture
def history(nothing: None, make_task: Callable[..., Task], settings: Any) -> None:
    """Store old executions of two tasks."""
    settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, "KEEP_LAST": 1}
    now = timezone.now()
    for name in ("a", "long-name"):
        task = make_task(name, NOTHING)
        for days in (120, 110, 100):
            row = old_execution(task, now, days)
        add_lines(row, 2, logged_at=now - timedelta(days=40))


@pytest.mark.usefixtures("history")
def test_a_dry_run_counts_by_task(command: Command) -> None:
    ran = command("pruneexecutions", "--dry-run")
    assert ran.out.splitlines() == [
        "task       executions  log lines",
        "a                   2          2",
        "long-name           2          2",
        "Would delete 4 executions, 0 earlier attempts, 4 log lines, 0 alerts and 0 messages.",
    ]
    assert (ran.code, Execution.objects.count()) == (0, 6)


@pytest.mark.usefixtures("history")
def test_it_deletes_and_reports_the_counts(command: Command) -> None:
    ran = command("pruneexecutions")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "Deleted 4 executions, 0 earlier attempts, 4 log lines, 0 alerts and 0 messages.\n"
    )
    assert Execution.objects.count() == 2
    assert command("pruneexecutions").out.startswith("Deleted 0 executions")


def test_without_old_rows_there_is_no_table(command: Command) -> None:
    assert command("pruneexecutions", "--dry-run").out == (
        "Would delete 0 executions, 0 earlier attempts, 0 log lines, 0 alerts and 0 messages.\n"
    )


@pytest.mark.usefixtures("history")
def test_the_archive_is_reported(command: Command, settings: Any, tmp_path: Path) -> None:
    archive_to(settings, "django.core.files.storage.FileSystemStorage", tmp_path)
    ran = command("pruneexecutions")
    sizes = [path.stat().st_size for path in tmp_path.rglob("*.gz")]
    assert f"Archived in {len(sizes)} files, {sum(sizes)} bytes in all." in ran.out


@pytest.mark.usefixtures("history")
def test_a_full_archive_fails_with_one_sentence(
    command: Command, settings: Any, tmp_path: Path
) -> None:
    archive_to(settings, "tests.support.storages.FullStorage", tmp_path)
    ran = command("pruneexecutions")
    assert (ran.code, ran.out) == (1, "")
    [said] = ran.err.splitlines()
    assert said.startswith("The storage 'archive' failed, so nothing more was deleted: ")
    assert said.endswith(".")
    assert "Deleted" not in said
    assert Execution.objects.count() == 6


@pytest.mark.usefixtures("history")
def test_an_unknown_archive_is_refused(command: Command, settings: Any) -> None:
    settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, "ARCHIVE_STORAGE": "archvie"}
    ran = command("pruneexecutions")
    assert ran.code == 1
    assert "scheduled_tasks.E001" in ran.err
    assert "'archvie', but STORAGES has only 'default', 'staticfiles'" in ran.err


@pytest.mark.usefixtures("history")
def test_an_interrupt_keeps_what_is_done(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    real = pruneexecutions.prune_executions

    def interrupted(**options: Any) -> None:
        real(**options)
        raise KeyboardInterrupt

    monkeypatch.setattr(pruneexecutions, "prune_executions", interrupted)
    ran = command("pruneexecutions")
    assert ran.code == 130
    assert ran.err.startswith("Interrupted. Deleted 4 executions")


def archive_to(settings: Any, backend: str, folder: Path) -> None:
    storage = {"BACKEND": backend, "OPTIONS": {"location": folder}}
    settings.STORAGES = {**settings.STORAGES, "archive": storage}
    settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, "ARCHIVE_STORAGE": "archive"}
