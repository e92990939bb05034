"""Send a test alert."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from scheduled_tasks.exceptions import InvalidSettings, NotSent, UnknownNotifier
from scheduled_tasks.management.base import OutputCommand
from scheduled_tasks.operations.alerts import send_test_alert


class Command(OutputCommand):
    """Send a test alert by one notifier, now and in this process; fail with the reason if any."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="Name of a notifier in SCHEDULED_TASKS['NOTIFIERS'].")

    def handle(self, *args: Any, **options: Any) -> str:
        """Send it, and return where it was sent to."""
        name = options["name"]
        try:
            notifier = send_test_alert(name)
        except NotSent as error:
            raise CommandError(
                f"The notifier {name!r} could not send the test alert: {error}"
            ) from None
        except (InvalidSettings, UnknownNotifier) as error:
            raise CommandError(str(error)) from None
        return f"The notifier {name!r} has sent a test alert to {notifier}."
