"""Databases that are away, locked or empty."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest
from django.db import DatabaseError, OperationalError, connection

from scheduled_tasks.models import Worker
from scheduled_tasks.monitoring.health import report as health_module
from scheduled_tasks.monitoring.health.report import Level, health
from tests.monitoring.fleet import make_scheduler
from tests.monitoring.health.reports import failing, said

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]


@contextmanager
def renamed(table: str) -> Iterator[None]:
    """Rename a table meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO elsewhere")
        try:
            yield
        finally:
            cursor.execute(f"ALTER TABLE elsewhere RENAME TO {table}")


@pytest.mark.django_db(transaction=True)
def test_missing_tables_are_named(now: datetime) -> None:
    with renamed(Worker._meta.db_table):
        report = health(now)
    assert report.level is Level.CRITICAL
    assert report.sentence.startswith("The tables of scheduled tasks are missing or cannot be read")
    assert "Did migrate run on this database" in report.sentence
    assert health(now).sentence.startswith("No scheduler is alive")


@pytest.mark.django_db(transaction=True)
def test_a_locked_table_does_not_hold_it_up(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    """As while a migration runs; otherwise each probe would leave a waiting connection behind."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite does not lock readers out.")
    monkeypatch.setattr(health_module, "STATEMENT_SECONDS", 0.2)
    make_scheduler(now)
    other = connection.copy()
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {Worker._meta.db_table}")
        sentence = "The database does not answer: canceling statement due to statement timeout."
        assert said(now) == ("CRITICAL", sentence)
    finally:
        other.close()
    assert said(now)[0] == "OK"
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",)


def test_errors_of_databases_hold_no_secrets(
    now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, OperationalError("refused: password=hunter2\nDetails follow."))
    level, sentence = said(now)
    assert level == "CRITICAL"
    assert sentence.startswith("The database does not answer: refused: password=")
    assert "hunter2" not in sentence
    assert "Details" not in sentence
    failing(monkeypatch, DatabaseError())
    assert said(now) == ("CRITICAL", "The database does not answer: DatabaseError.")
