"""Checks of the database."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Warning  # noqa: A004 -- Django's own name
from django.db import connections, router


def check_sqlite(*, databases: Any = None, **_: Any) -> list[CheckMessage]:
    """Check that several processes can write to a SQLite database."""
    from scheduled_tasks.models import Task  # noqa: PLC0415 -- needs loaded apps

    connection = connections[router.db_for_write(Task)]
    if connection.vendor != "sqlite":
        return []
    options = connection.settings_dict.get("OPTIONS", {})
    wal = "journal_mode" in str(options.get("init_command", "")).lower()
    if wal and str(options.get("transaction_mode", "")).upper() == "IMMEDIATE":
        return []
    return [
        Warning(
            "Without WAL and immediate transactions, SQLite fails with 'database is locked' when "
            "several processes write.",
            hint=(
                f"Set DATABASES[{connection.alias!r}]['OPTIONS'] to {{'transaction_mode': "
                "'IMMEDIATE', 'init_command': 'PRAGMA journal_mode=WAL; PRAGMA "
                "synchronous=NORMAL;', 'timeout': 20}."
            ),
            id="scheduled_tasks.W001",
        )
    ]
