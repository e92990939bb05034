"""``migrate`` on several databases: declared tasks are synced only where their tables are."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.processes import ended, manage

Command = Callable[..., str]

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]
SETTINGS = "tests.support.routed_settings"
SYNCED = "scheduled task: create"


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Return a function that runs a command under a router, and returns what it says."""

    def run(router: str, *arguments: str) -> str:
        environment = {"ROUTER": router, "ROUTED_FOLDER": str(tmp_path)}
        code, said = ended(manage(*arguments, DJANGO_SETTINGS_MODULE=SETTINGS, **environment))
        assert code == 0, said
        return said

    return run


def names(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as opened:
        return [name for (name,) in opened.execute("SELECT name FROM scheduled_tasks_task")]


def test_nothing_is_synced_where_a_router_keeps_out(command: Command, tmp_path: Path) -> None:
    assert SYNCED not in command("KeepsOut", "migrate")
    # The tables are there, but the router writes elsewhere.
    assert SYNCED not in command("KeepsOut", "migrate", "--database=other")
    assert names(tmp_path / "other.sqlite3") == []


@pytest.mark.long
def test_a_moved_app_is_synced_where_it_is(command: Command, tmp_path: Path) -> None:
    assert SYNCED not in command("Moves", "migrate")
    assert SYNCED in command("Moves", "migrate", "--database=other")
    assert names(tmp_path / "other.sqlite3")


@pytest.mark.long
def test_only_whole_tables_are_synced(command: Command, tmp_path: Path) -> None:
    assert SYNCED not in command("", "migrate", "contenttypes")
    assert SYNCED not in command("", "migrate", "--plan")
    assert SYNCED not in command("", "migrate", "--fake", "scheduled_tasks")
    assert SYNCED not in command("", "migrate", "--fake", "scheduled_tasks", "zero")
    assert SYNCED in command("", "migrate")
    assert names(tmp_path / "default.sqlite3")
    assert SYNCED not in command("", "migrate", "scheduled_tasks", "zero")


@pytest.mark.long
def test_a_replica_is_not_asked(command: Command, tmp_path: Path) -> None:
    assert SYNCED in command("ReadsFromReplica", "migrate", "--skip-checks")
    assert "All tasks match the code." in command("ReadsFromReplica", "synctasks")
    name = names(tmp_path / "default.sqlite3")[0]
    assert f"{name} #1: queued" in command("ReadsFromReplica", "runtask", name, "--queue")
