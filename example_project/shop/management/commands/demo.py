"""Run the demo: the site and the scheduler, with sample data, in one terminal."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from datetime import datetime
from types import FrameType
from typing import Any, NoReturn

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from example_project.shop import sample_data
from scheduled_tasks.models import Execution

NAME, PASSWORD = "demo", "demo"
FIRST_PORT, PORTS = 8000, 50
SECONDS_TO_STOP = 30


class Command(BaseCommand):
    """Migrate, load sample data, create a superuser, then run the site and the scheduler."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--for",
            type=float,
            dest="seconds",
            help="Stop after this many seconds, and fail unless executions ran and succeeded.",
        )
        parser.add_argument(
            "--port", type=int, help="Port to serve on. Default: 8000 or the next free one."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until Ctrl-C or the given time, then print a summary."""
        since = timezone.now()
        self.prepare(since)
        port = options["port"] or free_port()
        self.stdout.write(
            f"\n  The admin:  http://127.0.0.1:{port}/admin/scheduled_tasks/task/\n"
            f"  Log in as:  {NAME}, password {PASSWORD}\n"
            f"  Stop with:  Ctrl-C\n\n"
        )
        self.stdout.flush()
        processes = [
            start("runserver", f"127.0.0.1:{port}", "--noreload", "--verbosity=0"),
            start("runscheduler"),
        ]
        signal.signal(signal.SIGTERM, interrupt)
        try:
            died = wait(processes, options["seconds"])
        finally:
            stop(processes)
        self.summarize(since, died=died, must_have_run=options["seconds"] is not None)

    def prepare(self, now: datetime) -> None:
        """Prepare the database."""
        call_command("migrate", interactive=False, verbosity=0)
        sample_data.load(now)
        users = get_user_model().objects
        if not users.filter(username=NAME).exists():
            users.create_superuser(NAME, "demo@example.com", PASSWORD)

    def summarize(self, since: datetime, *, died: bool, must_have_run: bool) -> None:
        """Print the counts by status. Raise CommandError if the demo failed."""
        ran = Execution.objects.filter(created_at__gte=since).exclude(finished_at=None)
        statuses = Counter(ran.values_list("status", flat=True))
        counts = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
        self.stdout.write(f"\nFinished executions: {counts or 'none'}")
        if died:
            raise CommandError("The site or the scheduler exited. See above for the reason.")
        if must_have_run and set(statuses) != {Execution.Status.SUCCESS}:
            raise CommandError("Executions should have run and succeeded.")


def free_port() -> int:
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise CommandError(f"No free port from {FIRST_PORT} on. Choose one with --port.")


def start(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, sys.argv[0], *arguments])  # noqa: S603


def wait(processes: list[subprocess.Popen[bytes]], seconds: float | None) -> bool:
    """Wait for Ctrl-C or the given time. Return whether a process exited before that."""
    deadline = None if seconds is None else time.monotonic() + seconds
    with suppress(KeyboardInterrupt):
        while deadline is None or time.monotonic() < deadline:
            if any(process.poll() is not None for process in processes):
                return True
            time.sleep(0.2)
    return False


def stop(processes: list[subprocess.Popen[bytes]]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
