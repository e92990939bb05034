"""Run the demo: the site and the scheduler, with sample data, in one terminal."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, NoReturn

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.utils import timezone

from example_project.shop import sample_data
from scheduled_tasks.models import Execution
from scheduled_tasks.operations.pauses import pause_all_tasks, resume_all_tasks

NAME, PASSWORD = "demo", "demo"
FIRST_PORT, PORTS, MAX_PORT = 8000, 50, 65_535
SECONDS_TO_STOP = 30
#: The signals that end the demo, as far as this platform has them.
STOPPING = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
    if hasattr(signal, name)
]
#: The task whose executions fail for good.
FAILS = "import_prices"


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
            "--port", type=port_number, help="Port to serve on. Default: 8000 or the next free one."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until Ctrl-C or the given time, then print a summary."""
        since = timezone.now()
        processes: list[subprocess.Popen[bytes]] = []
        died = False
        for number in STOPPING:
            signal.signal(number, interrupt)
        with fresh_database():
            try:
                with suppress(KeyboardInterrupt):
                    died = self.run(since, processes, options["port"], options["seconds"])
            finally:
                stop(processes)
            self.summarize(since, died=died, must_have_run=options["seconds"] is not None)

    def run(
        self,
        since: datetime,
        processes: list[subprocess.Popen[bytes]],
        port: int | None,
        seconds: float | None,
    ) -> bool:
        """Prepare the database, start the processes, and wait. Return whether one exited."""
        call_command("migrate", interactive=False, verbosity=0)
        pause_all_tasks(reason="The database moved.", by=f"user:{NAME}")
        resume_all_tasks(by=f"user:{NAME}")
        processes.append(start("runscheduler"))
        port = port or free_port()
        processes.append(start("runserver", f"127.0.0.1:{port}", "--noreload", "--verbosity=0"))
        sample_data.load(since)
        create_user()
        self.stdout.write(
            f"\n  The admin:  http://127.0.0.1:{port}/admin/scheduled_tasks/task/\n"
            f"  Log in as:  {NAME}, password {PASSWORD}\n"
            f"  Database:   {connection.settings_dict['NAME']}\n"
            f"  Stop with:  Ctrl-C\n\n"
        )
        self.stdout.flush()
        return wait(processes, seconds)

    def summarize(self, since: datetime, *, died: bool, must_have_run: bool) -> None:
        """Print the counts by status. Raise CommandError if the demo failed."""
        ran = Execution.objects.filter(created_at__gte=since).exclude(finished_at=None)
        statuses = Counter(ran.values_list("status", flat=True))
        counts = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
        self.stdout.write(f"\nFinished executions: {counts or 'none'}")
        if died:
            raise CommandError("The site or the scheduler exited. See above for the reason.")
        unexpected = ran.filter(status=Execution.Status.FAILED).exclude(task_name=FAILS)
        if must_have_run and (unexpected or not statuses[Execution.Status.SUCCESS]):
            raise CommandError(f"Executions should have succeeded, except those of {FAILS}.")


@contextmanager
def fresh_database() -> Iterator[None]:
    """Use a database of its own, for the processes that are started, too, unless one is named."""
    if os.environ.get("DATABASE_URL"):
        yield
        return
    with TemporaryDirectory(prefix="scheduled-tasks-demo-") as folder:
        file = Path(folder) / "db.sqlite3"
        os.environ["DATABASE_URL"] = f"sqlite:///{file}"
        connection.close()  # system checks have opened it, from Django 6.1 on
        connection.settings_dict["NAME"] = str(file)
        yield
        connection.close()


def create_user() -> None:
    users = get_user_model().objects
    if not users.filter(username=NAME).exists():
        users.create_superuser(NAME, "demo@example.com", PASSWORD)


def port_number(text: str) -> int:
    """Return a port from the command line. Raise ArgumentTypeError for a number that is none."""
    if text.isdecimal() and 0 < int(text) <= MAX_PORT:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a number from 1 to {MAX_PORT}, not {text!r}")


def free_port() -> int:
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise CommandError(f"No free port from {FIRST_PORT} on. Choose one with --port.")


def start(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, sys.argv[0], *arguments])  # noqa: S603


def wait(processes: list[subprocess.Popen[bytes]], seconds: float | None) -> bool:
    """Wait for the given time, or for ever. Return whether a process exited before that."""
    deadline = None if seconds is None else time.monotonic() + seconds
    while deadline is None or time.monotonic() < deadline:
        if any(process.poll() is not None for process in processes):
            return True
        time.sleep(0.2)
    return False


def stop(processes: list[subprocess.Popen[bytes]]) -> None:
    ignore_signals()
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ignore_signals() -> None:
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


def interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    """Begin to stop; later signals change nothing."""
    ignore_signals()
    raise KeyboardInterrupt
