"""Send a test alert."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from scheduled_tasks.exceptions import InvalidSettings, NotSent, UnknownNotifier, UnknownTask
from scheduled_tasks.management.base import OutputCommand
from scheduled_tasks.operations.alerts import send_test_alert
from scheduled_tasks.operations.heartbeats import send_test_heartbeat


class Command(OutputCommand):
    """Send a test alert by one notifier, now and in this process; fail with the reason if any.

    With --heartbeat, test the heartbeat URL of a task instead, without reporting a run.
    """

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "name", nargs="?", help="Name of a notifier in SCHEDULED_TASKS['NOTIFIERS']."
        )
        parser.add_argument(
            "--heartbeat", metavar="TASK", help="Test the heartbeat URL of this task instead."
        )

    def handle(self, *args: Any, **options: Any) -> str:
        """Send it, and return where it was sent to."""
        name, task = options["name"], options["heartbeat"]
        if (name is None) == (task is None):
            raise CommandError("Name either a notifier, or a task with --heartbeat TASK.")
        try:
            return alert_sent(name) if task is None else heartbeat_sent(task)
        except (InvalidSettings, UnknownNotifier, UnknownTask) as error:
            raise CommandError(str(error)) from None


def alert_sent(name: str) -> str:
    try:
        notifier = send_test_alert(name)
    except NotSent as error:
        raise CommandError(
            f"The notifier {name!r} could not send the test alert: {error}"
        ) from None
    return f"The notifier {name!r} has sent a test alert to {notifier}."


def heartbeat_sent(name: str) -> str:
    try:
        service, was_told = send_test_heartbeat(name)
    except NotSent as error:
        raise CommandError(f"The heartbeat of the task {name!r} failed: {error}") from None
    if was_told:
        return (
            f"{service} has accepted a test for the task {name!r}. It appears in the log of the "
            "check, and changes nothing else."
        )
    return (
        f"{service} can be reached. Nothing was sent: this service takes any request as the report "
        "of a run, so only a run shows whether the rest of the address is right."
    )
