"""Settings that a worker can load and its fork server cannot."""

from __future__ import annotations

import os

from scheduled_tasks.executors.process.fork_server.client import MARK
from tests.settings import *  # noqa: F403

if MARK in os.environ:
    raise RuntimeError("this project cannot be loaded twice")
