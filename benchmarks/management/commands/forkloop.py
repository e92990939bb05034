"""Run the yardstick of processes: a plain loop on a forkserver."""

from __future__ import annotations

import multiprocessing
import signal
import time
from multiprocessing.connection import wait
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from benchmarks import marks


class Command(BaseCommand):
    """Start fresh processes, each of which leaves a mark; then wait to be stopped."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("count", type=int)
        parser.add_argument("--at-once", type=int, default=1)

    def handle(self, *args: Any, count: int, at_once: int, **options: Any) -> None:
        """Loop."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["benchmarks.loaded"])
        running: dict[int, Any] = {}
        for _ in range(count):
            if len(running) == at_once:
                for sentinel in wait(list(running)):
                    running.pop(sentinel).join()
            process = context.Process(target=marks.leave, args=(time.time(),))
            process.start()
            running[process.sentinel] = process
        for process in running.values():
            process.join()
        signal.pause()
