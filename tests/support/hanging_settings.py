"""Settings of a project whose receivers of signals hang in a loop of a worker.

They do so while a file with the name of the loop exists in the directory HANG_FILES.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

from django.db.backends.signals import connection_created

from scheduled_tasks.signals import execution_finished
from tests.settings import *  # noqa: F403


def hang(name: str) -> None:
    while (Path(os.environ["HANG_FILES"]) / name).exists():
        time.sleep(0.02)


def hang_the_main_loop(**_: Any) -> None:
    hang("main loop")


def hang_a_thread(**_: Any) -> None:
    if (name := threading.current_thread().name) in {"heartbeat", "scan"}:
        hang(name)


execution_finished.connect(hang_the_main_loop)
connection_created.connect(hang_a_thread)
