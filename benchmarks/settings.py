"""Django settings of the benchmarks: the app and its admin, the peers that are installed.

``__main__`` sets what is read from the environment, for itself and for the workers it starts.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

from example_project import settings as example

database = example.DATABASES["default"]
on_postgresql = database["ENGINE"].endswith("postgresql")
if on_postgresql:
    database["CONN_MAX_AGE"] = None
else:
    database["TEST"] = {"NAME": f"{database['NAME']}.test"}
#: The workers find here the name of the database that was made for the benchmarks.
database["NAME"] = os.environ.get("BENCHMARK_DATABASE", database["NAME"])
DATABASES = {"default": database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "scheduled_tasks",
    "benchmarks",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = example.TEMPLATES
ROOT_URLCONF = "benchmarks.urls"
STATIC_URL = "static/"
ALLOWED_HOSTS = ["testserver"]
SECRET_KEY = "only-for-the-benchmarks"
USE_TZ = True
TIME_ZONE = "UTC"

SCHEDULED_TASKS: dict[str, Any] = {"SYNC_AFTER_MIGRATE": False}
if "BENCHMARK_EXECUTOR" in os.environ:
    SCHEDULED_TASKS["EXECUTOR"] = os.environ["BENCHMARK_EXECUTOR"]
if "BENCHMARK_NOTIFIER" in os.environ:
    SCHEDULED_TASKS["NOTIFIERS"] = {
        "marks": {
            "BACKEND": "scheduled_tasks.monitoring.notifiers.CallableNotifier",
            "OPTIONS": {"function": os.environ["BENCHMARK_NOTIFIER"]},
        }
    }

#: By BENCHMARK_ALERTS: the conditions that differ from the defaults.
CONDITIONS: dict[str, dict[str, Any]] = {
    "off": dict.fromkeys(
        ("failed", "dead_letter", "missed", "worker_lost", "parked", "scheduler_behind"), False
    )
    | {"invariant": False},
    "all": {
        **dict.fromkeys(("partial", "too_fast", "over_interval", "too_few_workers"), True),
        "not_started": {"start_within": 600},
        "no_success": {"no_success_for": 600},
        "running_long": {"max_runtime": 600},
    },
}
SCHEDULED_TASKS["CONDITIONS"] = CONDITIONS.get(os.environ.get("BENCHMARK_ALERTS", ""), {})

if find_spec("django_tasks_db"):
    INSTALLED_APPS += ["django_tasks", "django_tasks_db"]
    TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
if find_spec("procrastinate") and on_postgresql:
    INSTALLED_APPS += ["procrastinate.contrib.django"]
    PROCRASTINATE_IMPORT_PATHS = ["benchmarks.contestants.procrastinate"]
