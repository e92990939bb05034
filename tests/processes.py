"""Real scheduler processes on the test database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.db import connection

ROOT = Path(__file__).parent.parent


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


def manage(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start a management command on the test database."""
    return subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "DATABASE_URL": database_url(),
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def schedulers(count: int, *options: str, **environment: str) -> Iterator[list[Any]]:
    """Run several schedulers; stop them at the end and check that they stop cleanly."""
    running = [
        manage("runscheduler", "--verbosity=0", *options, **environment) for _ in range(count)
    ]
    try:
        yield running
        for process in running:
            assert process.poll() is None, f"a scheduler died: {process.communicate()[0]}"
            process.send_signal(signal.SIGTERM)
        for process in running:
            output, _ = process.communicate(timeout=60)
            assert process.returncode == 0, output
    finally:
        for process in running:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def wait_until(condition: Callable[[], bool], *, within: float) -> None:
    """Look again and again until something is true of other processes; fail if it never is."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"it did not come true within {within} s"
        time.sleep(0.05)
