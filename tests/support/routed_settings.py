"""Settings of a project with two SQLite files, ``default`` and ``other``, and a router by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.settings import *  # noqa: F403

folder = Path(os.environ["ROUTED_FOLDER"])
DATABASES = {
    alias: {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / f"{alias}.sqlite3")}
    for alias in ("default", "other")
}
SCHEDULED_TASKS: dict[str, Any] = {"EXECUTOR": "thread"}


class KeepsOut:
    """Keeps the tables out of ``default``, and says nothing else."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return db == "other" if app_label == "scheduled_tasks" else None


class Moves(KeepsOut):
    """Moves the app to ``other``."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "other" if model._meta.app_label == "scheduled_tasks" else None

    db_for_read = db_for_write


class ReadsFromReplica:
    """Reads from ``other``, a replica that has not caught up: it has no tables yet."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "other"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


DATABASE_ROUTERS = [
    f"tests.support.routed_settings.{name}" for name in [os.environ["ROUTER"]] if name
]
