"""Settings of the workers of both releases; PYTHONPATH says which app they find."""

from __future__ import annotations

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as OF_THE_SUITE

LEFT_OUT = ("example_project.shop", "tests.jobs", "tests.support")
INSTALLED_APPS = [*(app for app in OF_THE_SUITE if app not in LEFT_OUT), "release"]
SCHEDULED_TASKS = {"POLL_INTERVAL": 0.5}
