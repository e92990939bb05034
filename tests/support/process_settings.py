"""Settings of processes that only run handlers: without the admin, they load a third faster."""

from __future__ import annotations

from tests.settings import *  # noqa: F403

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "scheduled_tasks",
    "tests.jobs",
    "tests.support",
]
# The example project's needs the admin.
ROOT_URLCONF = "tests.support.process_urls"
