"""What the commands share: options, moments, who asked, and log lines on the terminal."""

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
from scheduled_tasks.models import Pause
from scheduled_tasks.runtime.logs.console import show_on_console

Number = TypeVar("Number", int, float)

LEVELS = {0: logging.ERROR, 1: logging.INFO}


def positive(kind: type[Number]) -> Callable[[str], Number]:
    """Return a type for argparse: a number above zero, and none that no clock can count to."""
    return bounded(kind, "above 0", lambda number: number > 0)


def not_negative(kind: type[Number]) -> Callable[[str], Number]:
    """Return a type for argparse: a number like a positive one, or zero."""
    return bounded(kind, "0 or more", lambda number: number >= 0)


def bounded(
    kind: type[Number], least: str, is_enough: Callable[[Number], bool]
) -> Callable[[str], Number]:
    def convert(text: str) -> Number:
        number = kind(text)
        if not (is_enough(number) and number <= MAX_NUMBER):
            raise argparse.ArgumentTypeError(
                f"must be {least} and at most {MAX_NUMBER}, not {text}"
            )
        return number

    convert.__name__ = kind.__name__
    return convert


def json_object(text: str) -> dict[str, Any]:
    """Read a JSON object from the command line. Raise CommandError with the reason."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"--payload is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise CommandError("--payload must be a JSON object, such as '{\"max_age_days\": 30}'.")
    return value


def user_name() -> str:
    """Return who runs the command, as far as the machine knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"


def moment(value: datetime) -> str:
    """Return a moment in the project's time zone."""
    return timezone.localtime(value).strftime("%Y-%m-%d %H:%M:%S %Z")


def pause_in_words(pause: Pause) -> str:
    """Say until when everything is paused, why, and who did it."""
    until = f" until {moment(pause.until)}" if pause.until else ""
    because = f": {pause.reason}" if pause.reason else ""
    by = f" by {pause.begun_by}" if pause.begun_by else ""
    return f"Everything is paused{until}{because} (since {moment(pause.begun_at)}{by})"


def log_to_console(verbosity: int) -> None:
    """Show this app's log on the terminal, unless the project shows it already."""
    show_on_console(LEVELS.get(verbosity, logging.DEBUG))
