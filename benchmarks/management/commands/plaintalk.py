"""Run the yardstick of logs: the handler by itself."""

from __future__ import annotations

import logging
import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from benchmarks.tasks import talk
from scheduled_tasks.runtime.logs.console import show_on_console


class Command(BaseCommand):
    """Log lines, which are written to standard error; then wait to be stopped."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("lines", type=int)
        parser.add_argument("length", type=int)

    def handle(self, *args: Any, lines: int, length: int, **options: Any) -> None:
        """Call the handler."""
        show_on_console(logging.INFO)
        talk(lines=lines, length=length)
        signal.pause()
