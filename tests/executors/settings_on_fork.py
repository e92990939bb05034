"""Settings of a project whose forked processes get a signal at once, which SIGNAL_ON_FORK names."""

from __future__ import annotations

import os
import signal

from tests.settings import *  # noqa: F403

os.register_at_fork(
    after_in_child=lambda: os.kill(os.getpid(), signal.Signals[os.environ["SIGNAL_ON_FORK"]])
)
