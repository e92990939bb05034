"""Settings of a project that moves from django-celery-beat: both apps are installed."""

from __future__ import annotations

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as WITHOUT

INSTALLED_APPS = [*WITHOUT, "django_celery_beat"]
