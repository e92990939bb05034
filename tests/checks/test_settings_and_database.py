"""The checks of a project's settings and of its database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection
from django.test import override_settings

from scheduled_tasks.checks import check_sqlite, database_checks, static_checks
from tests.checks.messages import found, ids
from tests.support.processes import ROOT

FILES = "django.core.files.storage.FileSystemStorage"


@pytest.mark.django_db  # Django 6.1 asks the database whether it supports JSON
def test_a_project_without_a_mistake_passes() -> None:
    assert run_checks(tags=["scheduled_tasks"]) == []


def test_e001_settings_that_do_not_exist() -> None:
    [message] = found(SCHEDULED_TASKS={"CONCURENCY": 5})
    assert message.id == "scheduled_tasks.E001"
    assert "did you mean 'CONCURRENCY'" in message.msg
    assert ids(SCHEDULED_TASKS={"LEASE": 0}) == ["E001"]


def test_e001_for_each_mistake() -> None:
    wrong = {"CONCURENCY": 5, "LEASE": 0, "BASE_URL": "x", "REDACT": ["(", ")"]}
    assert ids(SCHEDULED_TASKS=wrong) == ["E001"] * 5


@pytest.mark.parametrize("url", ["http://127.0.0.1/x", "healthchecks+http://127.0.0.1/x"])
def test_e001_a_heartbeat_to_a_private_address(url: str) -> None:
    [message] = found(SCHEDULED_TASKS={"HEARTBEAT_URL": url})
    assert message.id == "scheduled_tasks.E001"
    assert message.msg == (
        "SCHEDULED_TASKS['HEARTBEAT_URL'] cannot be used: http://127.0.0.1 is not a public "
        "address. If requests may reach it, add '127.0.0.1' to SCHEDULED_TASKS['OUTGOING_ALLOW']."
    )
    assert ids(SCHEDULED_TASKS={"HEARTBEAT_URL": url, "OUTGOING_ALLOW": ["127.0.0.1"]}) == []
    assert ids(SCHEDULED_TASKS={"HEARTBEAT_URL": "https://localhost/x"}) == []


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        ({"BACKEND": "nowhere.Storage"}, "No module named 'nowhere'"),
        ({"BACKEND": FILES, "OPTIONS": {"locaton": "/x"}}, "TypeError: FileSystemStorage.__init__"),
        ({"OPTIONS": {}}, "BACKEND"),
    ],
)
def test_e001_a_storage_that_cannot_be_made(storage: dict[str, Any], said: str) -> None:
    stored = {**settings.STORAGES, "archive": storage}
    [message] = found(STORAGES=stored, SCHEDULED_TASKS={"ARCHIVE_STORAGE": "archive"})
    assert message.id == "scheduled_tasks.E001"
    start = "SCHEDULED_TASKS['ARCHIVE_STORAGE'] is 'archive', but that entry of STORAGES cannot be"
    assert message.msg.startswith(f"{start} used: ")
    assert said in message.msg


def test_a_storage_is_made_but_not_used(tmp_path: Path) -> None:
    storage = {"BACKEND": FILES, "OPTIONS": {"location": tmp_path / "new"}}
    stored = {**settings.STORAGES, "archive": storage}
    assert ids(STORAGES=stored, SCHEDULED_TASKS={"ARCHIVE_STORAGE": "archive"}) == []
    assert not (tmp_path / "new").exists()


def test_e001_is_an_error_not_a_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "TEST_OPTIONS": json.dumps({"CONCURENCY": 5}),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "scheduled_tasks.E001" in done.stderr
    assert "Traceback" not in done.stderr


def test_e002_local_times_in_the_database() -> None:
    [message] = found(USE_TZ=False)
    assert message.id == "scheduled_tasks.E002"
    assert "Set USE_TZ = True" in str(message.hint)


@pytest.mark.django_db
@pytest.mark.parametrize("command", ["runscheduler", "runtask", "synctasks", "listtasks"])
def test_e002_stops_every_command(command: str) -> None:
    arguments = ["anything"] if command == "runtask" else []
    with override_settings(USE_TZ=False), pytest.raises(SystemCheckError, match="E002"):
        call_command(command, *arguments, skip_checks=False)


@pytest.mark.parametrize("address", ["foo", "postgres://u:hunter2@[::1/db", "host=a bad"])
def test_e001_an_address_that_is_none(address: str) -> None:
    [message] = found(SCHEDULED_TASKS={"LISTEN_DSN": address})
    assert (message.id, "LISTEN_DSN" in message.msg) == ("scheduled_tasks.E001", True)
    assert "hunter2" not in message.msg


def test_checks_that_make_queries_are_tagged_for_databases() -> None:
    """Django 6.1 names all databases to every other check, at the start of every command."""
    assert all("database" in check.tags for check in database_checks)
    assert not any("database" in check.tags for check in static_checks)


def test_w001_sqlite_that_lets_writers_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "sqlite":
        assert check_sqlite() == []
        return
    good = connection.settings_dict["OPTIONS"]
    for options in ({}, {**good, "transaction_mode": None}, {**good, "init_command": ""}):
        monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
        [message] = check_sqlite()
        assert message.id == "scheduled_tasks.W001"
        assert "journal_mode=WAL" in str(message.hint)
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", good)
    assert check_sqlite() == []
