"""Delete executions, logs and alerts that have been kept long enough."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import Any

from django.core.management.base import CommandError, CommandParser

from scheduled_tasks.exceptions import ArchiveFailed, InvalidSettings
from scheduled_tasks.management.base import OutputCommand
from scheduled_tasks.management.progress_bar import RowCounter
from scheduled_tasks.operations.pruning import Pruned, prune_executions
from scheduled_tasks.runtime.wording import counted

#: The exit code after Ctrl-C, as shells have it.
INTERRUPTED = 130


class Command(OutputCommand):
    """Delete executions, logs and alerts that have been kept long enough.

    RETENTION_DAYS, FAILURE_RETENTION_DAYS, LOG_RETENTION_DAYS and KEEP_LAST decide, or the values
    of a task. Workers do the same once a day, unless PRUNE is off.
    """

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="Only count what would be deleted."
        )

    def handle(self, *args: Any, **options: Any) -> str:
        dry_run = options["dry_run"]
        pruned = Pruned()
        try:
            with closing(RowCounter(sys.stderr, enabled=not dry_run)) as rows:
                prune_executions(
                    dry_run=dry_run,
                    pruned=pruned,
                    after_step=lambda seconds: rows.show(pruned.rows),
                )
        except (ArchiveFailed, InvalidSettings) as error:
            deleted = f" {sentence('Deleted', pruned)}" if pruned.rows else ""
            raise CommandError(f"{error}{deleted}") from None
        except KeyboardInterrupt:
            message = f"Interrupted. {sentence('Deleted', pruned)}"
            raise CommandError(message, returncode=INTERRUPTED) from None
        if dry_run:
            return "\n".join([*table(pruned), sentence("Would delete", pruned)])
        return sentence("Deleted", pruned)


def sentence(verb: str, pruned: Pruned) -> str:
    """Return in a sentence how much was deleted, and into how many files it was written."""
    executions, attempts, lines, alerts, deliveries = (
        counted(number, noun)
        for number, noun in (
            (pruned.executions, "execution"),
            (pruned.attempts, "earlier attempt"),
            (pruned.log_lines, "log line"),
            (pruned.alerts, "alert"),
            (pruned.deliveries, "message"),
        )
    )
    deleted = f"{verb} {executions}, {attempts}, {lines}, {alerts} and {deliveries}."
    if not pruned.archived_files:
        return deleted
    files = counted(pruned.archived_files, "file")
    return f"{deleted} Archived in {files}, {counted(pruned.archived_bytes, 'byte')} in all."


def table(pruned: Pruned) -> list[str]:
    """Return a line for each task with rows to delete."""
    names = sorted({*pruned.executions_by_task, *pruned.log_lines_by_task})
    if not names:
        return []
    width = max(map(len, ("task", *names)))
    return [
        f"{'task':{width}}  executions  log lines",
        *(
            f"{name:{width}}  {pruned.executions_by_task[name]:10}"
            f"  {pruned.log_lines_by_task[name]:9}"
            for name in names
        ),
    ]
