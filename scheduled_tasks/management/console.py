"""Shared parts of the commands: types of options, users, times, and logging to the terminal."""

from __future__ import annotations

import argparse
import getpass
import json
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from django.core.management.base import CommandError
from django.utils import timezone

from scheduled_tasks.conf import MAX_NUMBER
from scheduled_tasks.handlers.payloads.json_values import (
    TOO_DEEP,
    RepeatedKeyError,
    StrictDecoder,
)
from scheduled_tasks.models import Pause
from scheduled_tasks.runtime.logs.console import show_on_console
from scheduled_tasks.runtime.sanitizing import sanitized_text

Number = TypeVar("Number", int, float)

#: With ``cli:`` before it, it fits into every column that holds the name of a person.
MAX_USER_LENGTH = 190
LEVELS = {0: logging.ERROR, 1: logging.INFO}


def positive(kind: type[Number]) -> Callable[[str], Number]:
    """Return a type for argparse: a number above 0 that fits into a timeout."""
    return bounded(kind, "above 0", lambda number: number > 0)


def not_negative(kind: type[Number]) -> Callable[[str], Number]:
    """Return a type for argparse: 0 or a positive number that fits into a timeout."""
    return bounded(kind, "0 or more", lambda number: number >= 0)


def bounded(
    kind: type[Number], minimum: str, is_enough: Callable[[Number], bool]
) -> Callable[[str], Number]:
    def convert(text: str) -> Number:
        number = kind(text)
        if not (is_enough(number) and number <= MAX_NUMBER):
            raise argparse.ArgumentTypeError(
                f"must be {minimum} and at most {MAX_NUMBER}, not {text}"
            )
        return number

    # argparse puts the name of the type into its messages.
    convert.__name__ = kind.__name__
    return convert


def json_object(text: str) -> dict[str, Any]:
    """Parse a JSON object from the command line. Raise CommandError for anything else."""
    if not text.strip():
        raise CommandError("--payload is empty: leave it out for the task's own, or give '{}'.")
    try:
        value = json.loads(text, cls=StrictDecoder)
    except RecursionError:
        raise CommandError(f"--payload {TOO_DEEP}") from None
    except RepeatedKeyError as error:
        raise CommandError(f"--payload {error}") from None
    except ValueError as error:
        raise CommandError(f"--payload is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise CommandError("--payload must be a JSON object, such as '{\"max_age_days\": 30}'.")
    return value


def user_name() -> str:
    """Return the name of the user who runs the command, as it is recorded, or ``unknown``."""
    try:
        return sanitized_text(getpass.getuser(), limit=MAX_USER_LENGTH)
    except (KeyError, OSError):  # a user id without a name, as in containers
        return "unknown"


def moment(value: datetime) -> str:
    """Return a time in the time zone of the project."""
    return timezone.localtime(value).strftime("%Y-%m-%d %H:%M:%S %Z")


def describe_pause(pause: Pause) -> str:
    """Return in a sentence when, why and by whom all tasks are paused."""
    until = f" until {moment(pause.until)}" if pause.until else ""
    reason = f": {pause.reason}" if pause.reason else ""
    by = f" by {pause.begun_by}" if pause.begun_by else ""
    return f"All tasks are paused{until}{reason} (since {moment(pause.begun_at)}{by})"


def log_to_console(verbosity: int) -> None:
    """Log this app to the terminal unless the project already does."""
    show_on_console(LEVELS.get(verbosity, logging.DEBUG))
