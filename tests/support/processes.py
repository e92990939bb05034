"""Real scheduler processes on the test database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import psutil
from django.db import connection

from scheduled_tasks.models import Worker

ROOT = Path(__file__).parents[2]
#: What a test waits for at most, in seconds, where nothing but a loaded machine can be slow.
LONG = 60


def database_url() -> str:
    """Return the address of the test database, for other processes."""
    config = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{config['NAME']}"
    user = f"{quote(config['USER'])}:{quote(config['PASSWORD'])}"
    host, port = config["HOST"], config["PORT"]
    place = f"/{host}" if host.startswith("/") else host + (f":{port}" if port else "")
    kind = {"postgresql": "postgres"}.get(connection.vendor, connection.vendor)
    return f"{kind}://{user}@{place}/{quote(config['NAME'])}"


def options(**given: Any) -> str:
    """Return TEST_OPTIONS for schedulers that do everything often; ``given`` takes precedence."""
    quick = {"HEARTBEAT_INTERVAL": 0.3, "LEASE": 3, "POLL_INTERVAL": 0.2}
    return json.dumps({**quick, **given})


#: Of schedulers that need no fork server: to load one takes as long as all else.
IN_THREADS = options(EXECUTOR="thread")


def manage(
    *arguments: str, output: IO[str] | int = subprocess.PIPE, **environment: str
) -> subprocess.Popen[str]:
    """Start a management command on the test database, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment_of(**environment),
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )


def environment_of(**environment: str) -> dict[str, str]:
    """Return the environment of a management command on the test database, without the admin."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.support.process_settings",
        "DATABASE_URL": database_url(),
        **environment,
    }


@contextmanager
def started(
    *arguments: str, output: IO[str] | int = subprocess.PIPE, **environment: str
) -> Iterator[subprocess.Popen[str]]:
    """Run a management command, never leave it behind."""
    process = manage(*arguments, output=output, **environment)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=LONG)


@contextmanager
def running(
    *arguments: str, output: IO[str] | int = subprocess.PIPE, **environment: str
) -> Iterator[subprocess.Popen[str]]:
    """Run a scheduler, from when it has announced itself; never leave it behind.

    It starts without the system checks and the admin, in three quarters of the time.
    """
    environment = {"TEST_OPTIONS": options(), **environment}
    command = ("runscheduler", "--no-sync", "--skip-checks", *arguments)
    with started(*command, output=output, **environment) as process:
        wait_until(
            lambda: process.poll() is not None or Worker.objects.filter(pid=process.pid).exists(),
            within=LONG,
        )
        yield process


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a command to end by itself; return its exit code and what it has printed."""
    output, _ = process.communicate(timeout=LONG)
    assert "Traceback" not in output, output
    return process.returncode, output


def alive(pid: int) -> bool:
    """Say whether a process is there and more than a zombie."""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def written(path: Path) -> list[str]:
    """Return the whole lines that handlers have written into a file, which need not be there."""
    return path.read_text().rpartition("\n")[0].splitlines() if path.exists() else []


@contextmanager
def schedulers(count: int, *options: str, **environment: str) -> Iterator[list[Any]]:
    """Run several schedulers; stop them at the end and check that they stop cleanly."""
    running = [
        manage("runscheduler", "--verbosity=0", *options, **environment) for _ in range(count)
    ]
    try:
        yield running
        # A signal before a worker is there would end it as it ends any process.
        wait_until(lambda: Worker.objects.count() >= count, within=LONG)
        for process in running:
            assert process.poll() is None, f"a scheduler died: {process.communicate()[0]}"
            process.send_signal(signal.SIGTERM)
        for process in running:
            output, _ = process.communicate(timeout=LONG)
            assert process.returncode == 0, f"exit code {process.returncode}: {output}"
    finally:
        for process in running:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def wait_until(condition: Callable[[], bool], *, within: float, pause: float = 0.05) -> None:
    """Look again and again until something is true of other processes; fail if it never is."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"it did not come true within {within} s"
        time.sleep(pause)
