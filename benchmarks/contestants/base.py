"""What the benchmarks ask of whatever they measure."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from django.apps import apps
from django.core.management.color import no_style
from django.db import connection


@dataclass
class Program(ABC):
    """Something whose processes can be measured. ``name`` and ``runs_in`` stand in the tables."""

    name: str
    runs_in: str
    environment: dict[str, str] = field(default_factory=dict)

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command of one process."""

    @abstractmethod
    def empty(self) -> None:
        """Remove all that it has stored."""


class Contestant(Program):
    """A scheduler or a job queue that can be given jobs, each of which only leaves a mark.

    Moments are in seconds since 1970.
    """

    @abstractmethod
    def queue(self, count: int) -> None:
        """Store so many jobs to be run at once."""

    @abstractmethod
    def schedule(self, moments: Sequence[float]) -> None:
        """Store a job for each of the moments."""

    @abstractmethod
    def run_now(self) -> None:
        """Ask for one job as an application does, due when this was called."""


def manage(*arguments: str) -> list[str]:
    """Return a management command."""
    return [sys.executable, "-m", "django", *arguments]


def empty_app(label: str) -> None:
    """Empty all tables of a Django app."""
    tables = [model._meta.db_table for model in apps.get_app_config(label).get_models()]  # noqa: SLF001
    flush = connection.ops.sql_flush(no_style(), tables, allow_cascade=True)
    connection.ops.execute_sql_flush(flush)


def analyze() -> None:
    """Let the database learn what has been stored, as it does by itself in the long run."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")


def as_datetime(moment: float) -> datetime:
    """Return a moment as Django wants it."""
    return datetime.fromtimestamp(moment, UTC)
