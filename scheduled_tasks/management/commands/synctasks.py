"""Write the tasks declared in code to the database."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from scheduled_tasks.exceptions import ScheduledTasksError
from scheduled_tasks.management.base import OutputCommand
from scheduled_tasks.operations.sync import sync


class Command(OutputCommand):
    """Write the tasks declared in code to the database. Changes by users are kept."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check",
            action="store_true",
            help="Change nothing; fail if anything would change.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Only print what would change.")
        parser.add_argument("--force", action="store_true", help="Also undo changes by users.")

    def handle(self, *args: Any, **options: Any) -> str:
        dry_run = options["check"] or options["dry_run"]
        try:
            changes = sync(force=options["force"], dry_run=dry_run)
        except ScheduledTasksError as error:
            raise CommandError(str(error)) from None
        if not changes:
            return "All tasks match the code."
        listing = "\n".join(str(change) for change in changes)
        if options["check"]:
            raise CommandError(f"Tasks differ from the code. Run synctasks to apply:\n{listing}")
        return listing
