"""Report whether tasks are scheduled and run."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandParser

from scheduled_tasks.management.base import OutputCommand
from scheduled_tasks.monitoring.health.check import check_health


class Command(OutputCommand):
    """Print in one line whether tasks are scheduled and run, for readiness probes and Nagios.

    Exit with 0 if all is well, 1 for a warning, and 2 if there is no scheduler or no database.
    """

    help = __doc__
    # They take longer than all the rest, and may stop the command with another exit code.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--deep",
            action="store_true",
            help="Also look for broken invariants, such as tasks that are due but not fired.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        report = check_health(deep=options["deep"])
        # What follows a bar is a number to Nagios.
        self.stdout.write(f"{report.level.name}: {report.sentence}".replace("|", "/"))
        if report.level:
            sys.exit(int(report.level))
