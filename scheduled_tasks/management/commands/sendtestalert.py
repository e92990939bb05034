"""Send a test alert."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from scheduled_tasks.exceptions import InvalidSettings, NotSent, UnknownNotifier, UnknownTask
from scheduled_tasks.management.base import OutputCommand
from scheduled_tasks.operations.alerts import send_test_alert
from scheduled_tasks.operations.heartbeats import send_test_heartbeat

#: The value of --heartbeat without a task. No task has this name.
OF_SCHEDULER = ""


class Command(OutputCommand):
    """Send a test alert by one notifier, now and in this process; fail with the reason if any.

    With --heartbeat, test HEARTBEAT_URL or the heartbeat URL of a task instead; report no run.
    """

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "name", nargs="?", help="Name of a notifier in SCHEDULED_TASKS['NOTIFIERS']."
        )
        parser.add_argument(
            "--heartbeat",
            metavar="TASK",
            nargs="?",
            const=OF_SCHEDULER,
            help="Test the heartbeat URL of this task, or HEARTBEAT_URL without a task.",
        )

    def handle(self, *args: Any, **options: Any) -> str:
        """Send it, and return where it was sent to."""
        name, task = options["name"], options["heartbeat"]
        if (name is None) == (task is None):
            raise CommandError("Give either the name of a notifier, or --heartbeat [TASK].")
        try:
            return alert_sent(name) if task is None else heartbeat_sent(task or None)
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


def heartbeat_sent(name: str | None) -> str:
    whose = "the scheduler" if name is None else f"the task {name!r}"
    try:
        service, was_told = send_test_heartbeat(name)
    except NotSent as error:
        raise CommandError(f"The heartbeat of {whose} failed: {error}") from None
    if was_told:
        return (
            f"{service} has accepted a test for {whose}. It appears in the log of the check, and "
            "changes nothing else."
        )
    report, teller = ("sign of life", "scheduler") if name is None else ("report of a run", "run")
    return (
        f"{service} can be reached. Nothing was sent: this service takes any request as the "
        f"{report}, so only a {teller} shows whether the rest of the address is right."
    )
