"""Run a worker that prunes at a known time, and leaves word of each step."""

from __future__ import annotations

import os
import struct
from typing import Any

from django.core.management.base import CommandParser

from scheduled_tasks.management.commands.runscheduler import Command as RunScheduler
from scheduled_tasks.worker import pruning
from scheduled_tasks.worker.scheduler import Scheduler

#: How many seconds a step took.
LAYOUT = struct.Struct("d")


class RecordedPruning(pruning.DailyPruning):
    """Writes how long each step took, before it rests."""

    def _rest(self, seconds: float) -> None:
        record(seconds)
        super()._rest(seconds)


def record(seconds: float) -> None:
    """Write how long a step took."""
    file = os.open(os.environ["STEP_FILE"], os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    os.write(file, LAYOUT.pack(seconds))
    os.close(file)


class Command(RunScheduler):
    """Be ``runscheduler``, but begin to prune when this many seconds have passed."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the option."""
        super().add_arguments(parser)
        parser.add_argument("--prune-after", type=float, required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        """Work."""
        pruning.FIRST_CHECK_SECONDS = (options["prune_after"],) * 2
        super().handle(*args, **options)

    def work(self, scheduler: Scheduler, *, once: bool) -> None:
        """Work with the pruning that is recorded."""
        engine = scheduler.engine
        scheduler.pruning = RecordedPruning(
            engine.worker, engine.clock.now, watching=engine.watchdog.watching
        )
        super().work(scheduler, once=once)
