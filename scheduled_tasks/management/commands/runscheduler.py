"""Run the scheduler."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from scheduled_tasks.executors.base import ExecutorBrokenError
from scheduled_tasks.management.console import log_to_console, not_negative, positive
from scheduled_tasks.models import Worker
from scheduled_tasks.worker.engine import WorkerLostError
from scheduled_tasks.worker.scheduler import Scheduler

LONGEST_LABEL = Worker._meta.get_field("label").max_length or 0  # noqa: SLF001


class Command(BaseCommand):
    """Fire due tasks and run their executions until stopped by SIGTERM, SIGINT or Ctrl-C."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--concurrency", type=positive(int), help="How many executions to run at a time."
        )
        parser.add_argument(
            "--queues", default="", help="Claim only from these queues, separated by commas."
        )
        parser.add_argument(
            "--poll-interval", type=positive(float), help="Look for work this often, in seconds."
        )
        parser.add_argument(
            "--shutdown-timeout",
            type=not_negative(float),
            help="When stopped, wait this many seconds for what runs, then end it.",
        )
        parser.add_argument(
            "--worker-name", type=worker_label, default="", help="Name this worker (host:pid)."
        )
        parser.add_argument(
            "--once", action="store_true", help="Fire what is due, run it, and exit."
        )
        parser.add_argument(
            "--no-sync", action="store_true", help="Do not write what code declares."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Build a scheduler and run it."""
        log_to_console(options["verbosity"])
        scheduler = Scheduler(
            concurrency=options["concurrency"],
            queues=[name.strip() for name in options["queues"].split(",") if name.strip()],
            poll_interval=options["poll_interval"],
            shutdown_timeout=options["shutdown_timeout"],
            worker_name=options["worker_name"],
            syncs=not options["no_sync"],
        )
        stop_on_signals(scheduler)
        try:
            (scheduler.run_once if options["once"] else scheduler.run)()
        except (WorkerLostError, ExecutorBrokenError) as error:
            end_among_threads(scheduler, f"CommandError: {error}\n")
            raise CommandError(str(error)) from None
        end_among_threads(scheduler)
        if scheduler.unfinished:
            sys.exit(1)


def end_among_threads(scheduler: Scheduler, last_words: str = "") -> None:
    """End the process if threads of runs go on: the interpreter would wait for some of them."""
    if scheduler.engine.executor.leaves_code_running:
        sys.stderr.write(last_words)
        logging.shutdown()
        sys.stderr.flush()
        os._exit(1)


def stop_on_signals(scheduler: Scheduler) -> None:
    def stop(signum: int, frame: FrameType | None) -> None:
        scheduler.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def worker_label(text: str) -> str:
    if len(text) > LONGEST_LABEL:
        raise argparse.ArgumentTypeError(f"must have at most {LONGEST_LABEL} characters")
    return text
