"""Pause everything, or end the pause."""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from scheduled_tasks.exceptions import InvalidSchedule
from scheduled_tasks.management.console import moment, pause_in_words, user_name
from scheduled_tasks.models import Pause
from scheduled_tasks.models.policies import FIRST_YEAR, LAST_YEAR
from scheduled_tasks.runtime.sanitizing import sanitized_text
from scheduled_tasks.schedules.interval import read_length

LONGEST_REASON = Pause._meta.get_field("reason").max_length or 0  # noqa: SLF001
LONGEST_NAME = Pause._meta.get_field("begun_by").max_length or 0  # noqa: SLF001


class Command(BaseCommand):
    """Pause everything: slots are skipped as they come, and nothing else is begun.

    What runs goes on. Without --until and --for the pause lasts until --resume.
    """

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        what = parser.add_mutually_exclusive_group()
        what.add_argument(
            "--until",
            type=moment_to_come,
            metavar="TIME",
            help="Pause until this time: 2030-01-01T09:00, in TIME_ZONE unless it has an offset.",
        )
        what.add_argument(
            "--for",
            dest="until",
            type=end_of,
            metavar="DURATION",
            help="Pause for so long: 30m, 2h, 1d, 1h30m.",
        )
        what.add_argument("--resume", action="store_true", help="End the pause.")
        what.add_argument(
            "--status", action="store_true", help="Only say whether everything is paused."
        )
        parser.add_argument("--reason", help="Why; it is shown with every slot that is skipped.")

    def handle(self, *args: Any, **options: Any) -> str:
        """Begin a pause, end it, or look, and return how it stands."""
        now, by = timezone.now(), f"cli:{user_name()}"[:LONGEST_NAME]
        if options["reason"] is not None and (options["resume"] or options["status"]):
            raise CommandError("--reason belongs to a pause that begins.")
        if options["status"]:
            pauses = [pause_in_words(pause) for pause in Pause.objects.in_force(now)]
            return "\n".join(pauses) or "Nothing is paused."
        if options["resume"]:
            ended = Pause.objects.resume(now, by=by)
            return "The pause has ended." if ended else "Nothing was paused."
        reason = checked_reason(options["reason"] or "")
        pause = Pause.objects.begin(now, until=options["until"], reason=reason, by=by)
        return f"{pause_in_words(pause)}\npausescheduler --resume ends it."


def moment_to_come(text: str) -> datetime:
    """Read an ISO date and time; argparse says what is wrong with it."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r} is not an ISO date and time, such as 2030-01-01T09:00"
        ) from None
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise argparse.ArgumentTypeError(f"the year {value.year} is out of reach")
    if timezone.is_naive(value):
        value = timezone.make_aware(value, timezone.get_default_timezone())
    if value <= timezone.now():
        raise argparse.ArgumentTypeError(f"{moment(value)} has been already")
    return value


def end_of(text: str) -> datetime:
    """Read a length of time that begins now; argparse says what is wrong with it."""
    try:
        length = read_length(text.lower(), text)
    except InvalidSchedule:
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r} is not a length of time, such as 30m, 2h, 1d or 1h30m"
        ) from None
    now = timezone.now()
    if not length:
        raise argparse.ArgumentTypeError("a pause has to last at least a second")
    if length > timedelta(days=366 * (LAST_YEAR - now.year)):
        raise argparse.ArgumentTypeError(f"{text[:40]} is too long: leave it out to pause for good")
    return now + length


def checked_reason(reason: str) -> str:
    """Return the reason as the database can keep it. Raise CommandError if it is too long."""
    if len(reason) > LONGEST_REASON:
        raise CommandError(f"--reason has at most {LONGEST_REASON} characters.")
    return sanitized_text(reason, limit=LONGEST_REASON)
