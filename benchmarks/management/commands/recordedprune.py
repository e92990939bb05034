"""Prune as ``pruneexecutions`` does, and leave word of each step."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from benchmarks.management.commands.pruningscheduler import record
from scheduled_tasks.operations.pruning import prune_executions


class Command(BaseCommand):
    """Be ``pruneexecutions``, without its progress bar."""

    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        """Prune."""
        prune_executions(after_step=record)
