"""Settings of the workers that chaos is made for: the example project's, with tasks of their own.

Everything is short, so that two minutes hold many leases, misfires and retries.
"""

from __future__ import annotations

from tests.chaos.plan import LEASE, MISFIRE_THRESHOLD
from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as OF_THE_SUITE

LEFT_OUT = ("example_project.shop", "tests.jobs", "tests.support")
INSTALLED_APPS = [*(app for app in OF_THE_SUITE if app not in LEFT_OUT), "tests.chaos"]
SCHEDULED_TASKS = {
    "HEARTBEAT_INTERVAL": LEASE / 6,
    "KILL_GRACE": 1,
    "LEASE": LEASE,
    "MISFIRE_THRESHOLD": MISFIRE_THRESHOLD,
    "NOTIFIERS": {
        "book": {
            "BACKEND": "scheduled_tasks.monitoring.notifiers.CallableNotifier",
            "OPTIONS": {"function": "tests.chaos.messages.receive"},
        },
    },
    "POLL_INTERVAL": 0.5,
    "SYNC_AFTER_MIGRATE": False,
}
