"""Pause all tasks, or resume them."""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from scheduled_tasks.exceptions import InvalidSchedule, InvalidTask
from scheduled_tasks.management.base import OutputCommand
from scheduled_tasks.management.console import describe_pause, moment, user_name
from scheduled_tasks.models import Pause
from scheduled_tasks.operations.pauses import pause_all_tasks, resume_all_tasks
from scheduled_tasks.schedules.interval import read_length
from scheduled_tasks.schedules.zones import FIRST_YEAR, LAST_YEAR


class Command(OutputCommand):
    """Pause all tasks: scheduled runs are skipped, and queued executions wait.

    Running executions continue. Without --until or --for, the pause lasts until --resume.
    """

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        group = parser.add_mutually_exclusive_group()
        group.add_argument(
            "--until",
            type=future_time,
            metavar="TIME",
            help="Pause until this time, for example 2030-01-01T09:00, in TIME_ZONE by default.",
        )
        group.add_argument(
            "--for",
            dest="until",
            type=time_from_now,
            metavar="DURATION",
            help="Pause for this duration, for example 30m, 2h, 1d or 1h30m.",
        )
        group.add_argument("--resume", action="store_true", help="Resume all tasks.")
        group.add_argument(
            "--status", action="store_true", help="Only print whether all tasks are paused."
        )
        parser.add_argument("--reason", help="The reason, shown with each skipped run.")

    def handle(self, *args: Any, **options: Any) -> str:
        """Start or end a pause, or return whether there is one."""
        by = f"cli:{user_name()}"
        if options["reason"] is not None and (options["resume"] or options["status"]):
            raise CommandError("--reason can only be given when a pause starts.")
        if options["status"]:
            pauses = Pause.objects.in_force(timezone.now())
            return "\n".join(map(describe_pause, pauses)) or "There is no global pause."
        if options["resume"]:
            ended = resume_all_tasks(by=by)
            return "All tasks resumed." if ended else "There was no global pause."
        reason = options["reason"] or ""
        try:
            pause = pause_all_tasks(until=options["until"], reason=reason, by=by)
        except InvalidTask as error:
            raise CommandError(f"--{error}") from None
        return f"{describe_pause(pause)}\nTo resume, run pausescheduler --resume."


def future_time(text: str) -> datetime:
    """Parse an ISO date and time in the future. Raise ArgumentTypeError for anything else."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r} is not an ISO date and time, such as 2030-01-01T09:00"
        ) from None
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise argparse.ArgumentTypeError(f"the year {value.year} is not supported")
    if timezone.is_naive(value):
        value = timezone.make_aware(value, timezone.get_default_timezone())
    if value <= timezone.now():
        raise argparse.ArgumentTypeError(f"{moment(value)} is in the past")
    return value


def time_from_now(text: str) -> datetime:
    """Parse a duration and return its end from now on. Raise ArgumentTypeError otherwise."""
    try:
        length = read_length(text.lower(), text)
    except InvalidSchedule:
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r} is not a duration such as 30m, 2h, 1d or 1h30m"
        ) from None
    now = timezone.now()
    if not length:
        raise argparse.ArgumentTypeError("a pause must last at least one second")
    # Some zones cannot show what lies beyond LAST_YEAR.
    if length > timedelta(days=366 * (LAST_YEAR - now.year)):
        raise argparse.ArgumentTypeError(
            f"{text[:40]} is too long; leave it out to pause until --resume"
        )
    return now + length
