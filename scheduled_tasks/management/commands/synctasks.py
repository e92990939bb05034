"""Write what code declares into the database."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from scheduled_tasks.exceptions import ScheduledTasksError
from scheduled_tasks.operations.sync import sync


class Command(BaseCommand):
    """Write the declared tasks into the database; what people changed stays changed."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--check", action="store_true", help="Change nothing; fail if anything would change."
        )
        parser.add_argument("--dry-run", action="store_true", help="Only say what would change.")
        parser.add_argument(
            "--force", action="store_true", help="Take back what people changed, too."
        )

    def handle(self, *args: Any, **options: Any) -> str:
        """Sync, and return what changed."""
        only_look = options["check"] or options["dry_run"]
        try:
            changes = sync(force=options["force"], dry_run=only_look)
        except ScheduledTasksError as error:
            raise CommandError(str(error)) from None
        if not changes:
            return "The tasks are as the code declares them."
        listing = "\n".join(str(change) for change in changes)
        if options["check"]:
            raise CommandError(f"The tasks differ from the code; run synctasks:\n{listing}")
        return listing
