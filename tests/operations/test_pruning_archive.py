"""What is archived before it is pruned, and that nothing is deleted that is not archived."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from scheduled_tasks.exceptions import ArchiveFailed, InvalidSettings
from scheduled_tasks.models import Attempt, Execution, ExecutionLog, Task
from scheduled_tasks.operations import pruning
from scheduled_tasks.operations.pruning import Pruned, prune_executions
from tests.support.attempts import NOTHING
from tests.support.old_rows import add_attempts, add_lines, old_execution

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

Make = Callable[..., Task]
FILES = "django.core.files.storage.FileSystemStorage"


@pytest.fixture
def archive_to(settings: Any, tmp_path: Path) -> Callable[[str], None]:
    """Return a function that archives to this kind of storage."""

    def configure(backend: str) -> None:
        storage = {"BACKEND": backend, "OPTIONS": {"location": tmp_path}}
        settings.STORAGES = {**settings.STORAGES, "archive": storage}
        settings.SCHEDULED_TASKS = {
            **settings.SCHEDULED_TASKS,
            "ARCHIVE_STORAGE": "archive",
            "KEEP_LAST": 0,
        }

    return configure


@pytest.fixture
def archive(archive_to: Callable[[str], None], tmp_path: Path) -> Path:
    """Archive to a folder, and return it."""
    archive_to(FILES)
    return tmp_path


def records(folder: Path) -> list[dict[str, Any]]:
    """Return what all files of an archive hold."""
    return [
        json.loads(line)
        for path in sorted(folder.rglob("*.jsonl.gz"))
        for line in gzip.decompress(path.read_bytes()).decode().splitlines()
    ]


def columns(model: Any) -> set[str]:
    return {field.attname for field in model._meta.concrete_fields}


def test_all_columns_are_archived(make_task: Make, now: datetime, archive: Path) -> None:
    task = make_task("daily", NOTHING)
    row = old_execution(task, now, 100, payload={"n": 7, "note": "Grüße\n"})
    add_attempts(row, 2)
    add_lines(row, 3, logged_at=now)
    pruned = prune_executions(now=now)
    [path] = archive.rglob("*.gz")
    assert path.parent.relative_to(archive) == Path("scheduled-tasks/2026-03-01")
    assert path.name.startswith(f"executions-{row.pk}-{row.pk}-")
    assert (pruned.archived_files, pruned.archived_bytes) == (1, path.stat().st_size)
    execution, *others = records(archive)
    assert set(execution) == columns(Execution) | {"model"}
    assert execution["payload"] == row.payload
    assert execution["finished_at"] == "2025-11-21T12:00:00Z"
    assert [each["model"] for each in others] == ["attempt"] * 2 + ["executionlog"] * 3
    assert set(others[0]) == columns(Attempt) | {"model"}
    assert set(others[-1]) == columns(ExecutionLog) | {"model"}
    assert {each["execution_id"] for each in others} == {row.pk}


def test_lines_that_go_earlier_have_files(make_task: Make, now: datetime, archive: Path) -> None:
    row = old_execution(make_task("daily", NOTHING), now, 40)
    add_lines(row, 3)
    prune_executions(now=now)
    [path] = archive.rglob("*.gz")
    assert path.name.startswith("log-lines-")
    assert [line["message"] for line in records(archive)] == ["line 0", "line 1", "line 2"]
    assert Execution.objects.count() == 1


def test_secrets_are_masked(make_task: Make, now: datetime, archive: Path) -> None:
    task = make_task("daily", NOTHING)
    row = old_execution(
        task, now, 100, payload={"password": "hunter2"}, reason="token=hunter2", result="fine"
    )
    add_lines(row, 1, logged_at=now, message="password=hunter2")
    prune_executions(now=now)
    assert "hunter2" not in json.dumps(records(archive))
    assert records(archive)[0]["result"] == "fine"


def test_half_a_surrogate_is_archived(make_task: Make, now: datetime, archive: Path) -> None:
    """PostgreSQL refuses it in JSON; on SQLite, an update() stores it."""
    odd = {"said": "a \ud83d", "\udc00": ["\\ud83d 😀"]}
    if connection.vendor != "sqlite":
        pytest.skip("this database stores no such JSON")
    row = old_execution(make_task("daily", NOTHING), now, 100)
    Execution.objects.filter(pk=row.pk).update(payload=odd)
    prune_executions(now=now)
    assert records(archive)[0]["payload"] == odd
    assert not Execution.objects.exists()


def test_many_rows_are_in_several_files(
    make_task: Make, now: datetime, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "EXECUTIONS_PER_FILE", 30)
    task = make_task("daily", NOTHING)
    ids = [old_execution(task, now, 300 - number).pk for number in range(70)]
    assert prune_executions(now=now).archived_files == 3
    assert sorted(record["id"] for record in records(archive)) == ids


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        ("FullStorage", "No space left on device"),
        ("CuttingStorage", "could not be read back as it was written"),
        ("SilentStorage", "No such file"),
    ],
)
def test_a_storage_that_fails_loses_nothing(
    make_task: Make,
    now: datetime,
    archive_to: Callable[[str], None],
    backend: str,
    reason: str,
) -> None:
    archive_to(f"tests.support.storages.{backend}")
    task = make_task("daily", NOTHING)
    add_lines(old_execution(task, now, 100), 2)
    with pytest.raises(ArchiveFailed, match=reason) as told:
        prune_executions(now=now)
    assert "'archive'" in str(told.value)
    assert "\n" not in str(told.value)
    assert (Execution.objects.count(), ExecutionLog.objects.count()) == (1, 2)


def test_a_crash_before_the_deletion_archives_once(
    make_task: Make, now: datetime, archive: Path
) -> None:
    old_execution(make_task("daily", NOTHING), now, 100)
    stop_after_the_file(now)
    assert (Execution.objects.count(), len(records(archive))) == (1, 1)
    prune_executions(now=now)
    assert (Execution.objects.count(), len(records(archive))) == (0, 1)


def test_a_file_of_equal_ids_is_not_replaced(make_task: Make, now: datetime, archive: Path) -> None:
    """What lies between may be deleted already, so the file of today may lack it."""
    task = make_task("daily", NOTHING)
    ids = [old_execution(task, now, 102 - number).pk for number in range(3)]
    stop_after_the_file(now)
    Execution.objects.get(pk=ids[1]).delete()
    prune_executions(now=now)
    assert len(list(archive.rglob("*.gz"))) == 2
    assert {record["id"] for record in records(archive)} == set(ids)


def stop_after_the_file(now: datetime) -> None:
    """Prune until the first file is written."""
    pruned = Pruned()

    def stop(seconds: float) -> None:
        if pruned.archived_files:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prune_executions(now=now, pruned=pruned, after_step=stop)


def test_half_a_file_is_not_taken_for_whole(make_task: Make, now: datetime, archive: Path) -> None:
    row = old_execution(make_task("daily", NOTHING), now, 100)
    stop_after_the_file(now)
    [half] = archive.rglob("*.gz")
    half.write_bytes(half.read_bytes()[:20])
    prune_executions(now=now)
    [whole] = set(archive.rglob("*.gz")) - {half}
    assert json.loads(gzip.decompress(whole.read_bytes()))["id"] == row.pk


def test_a_full_temporary_directory_loses_nothing(
    make_task: Make, now: datetime, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("scheduled_tasks.operations.archive.write_lines", fail)
    old_execution(make_task("daily", NOTHING), now, 100)
    with pytest.raises(ArchiveFailed, match="temporary directory failed"):
        prune_executions(now=now)
    assert Execution.objects.count() == 1


def test_a_dry_run_archives_nothing(make_task: Make, now: datetime, archive: Path) -> None:
    old_execution(make_task("daily", NOTHING), now, 100)
    assert prune_executions(now=now, dry_run=True).archived_files == 0
    assert not list(archive.rglob("*.gz"))


def test_an_unknown_storage_is_refused(now: datetime, settings: Any) -> None:
    settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, "ARCHIVE_STORAGE": "archvie"}
    with pytest.raises(InvalidSettings, match="archvie"):
        prune_executions(now=now)


def test_a_storage_that_cannot_be_made_is_refused(now: datetime, settings: Any) -> None:
    storage = {"BACKEND": FILES, "OPTIONS": {"locaton": "/x"}}
    settings.STORAGES = {**settings.STORAGES, "archive": storage}
    settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, "ARCHIVE_STORAGE": "archive"}
    with pytest.raises(InvalidSettings, match=r"\['ARCHIVE_STORAGE'\]: .*locaton"):
        prune_executions(now=now)


def test_equal_rows_give_equal_files(make_task: Make, now: datetime, archive: Path) -> None:
    """Otherwise what a crash has left would be archived twice."""
    old_execution(make_task("daily", NOTHING), now, 100)
    stop_after_the_file(now)
    [path] = archive.rglob("*.gz")
    first = path.read_bytes()
    path.unlink()
    stop_after_the_file(now)
    assert [each.read_bytes() for each in archive.rglob("*.gz")] == [first]


def test_large_files_do_not_stay_in_memory(
    make_task: Make, now: datetime, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduled_tasks.operations.archive.MAX_BYTES_IN_MEMORY", 100)
    row = old_execution(make_task("daily", NOTHING), now, 100, result="x" * 50_000)
    prune_executions(now=now)
    assert records(archive)[0]["result"] == row.result
