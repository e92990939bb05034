"""Settings of the test suite: the example project's, on the database that DATABASE_URL names.

``python -m tests`` sets it for each database in turn; without it the suite runs on SQLite. The
test database of SQLite is a file, because several processes cannot share one in memory.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import django

from example_project.settings import *  # noqa: F403
from example_project.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.jobs", "tests.support"]
DEBUG = False
#: Child processes get options of their own through the environment, as a JSON object.
SCHEDULED_TASKS = {"SYNC_AFTER_MIGRATE": False} | json.loads(os.environ.get("TEST_OPTIONS", "{}"))
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

database = DATABASES["default"]
if database["ENGINE"].endswith("sqlite3"):
    scratch = Path(tempfile.gettempdir()) / f"scheduled-tasks-test-{os.getpid()}.sqlite3"
    database["TEST"] = {"NAME": str(scratch)}
if engine := os.environ.get("TEST_DATABASE_ENGINE"):
    database["ENGINE"] = engine
