"""Connects the check-ins in every process."""

from __future__ import annotations

import os

import sentry_sdk
from django.apps import AppConfig

from scheduled_tasks.monitoring import sentry


class WithSentry(AppConfig):
    """Initializes Sentry with the address that the environment names."""

    name = "tests.support.with_sentry"

    def ready(self) -> None:
        """Connect."""
        sentry_sdk.init(dsn=os.environ["SENTRY_DSN"], default_integrations=False)
        sentry.connect()
