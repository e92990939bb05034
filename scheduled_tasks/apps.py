"""The app's entry in INSTALLED_APPS."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.db import connections
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class ScheduledTasksConfig(AppConfig):
    """Registers the checks and finds the handlers; makes no query and starts no thread."""

    name = "scheduled_tasks"
    verbose_name = _("Scheduled tasks")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Import the modules with handlers, now that every app is loaded."""
        from scheduled_tasks.checks import all_checks  # noqa: PLC0415 -- needs loaded apps
        from scheduled_tasks.registry import autodiscover  # noqa: PLC0415

        autodiscover()
        for check in all_checks:
            checks.register(check, "scheduled_tasks")
        post_migrate.connect(sync_after_migrate, sender=self)


def sync_after_migrate(*, using: str, verbosity: int, **options: Any) -> None:
    """Write what code declares after ``migrate``; a ``flush`` only empties the tables."""
    from scheduled_tasks.conf import app_settings  # noqa: PLC0415 -- needs loaded apps
    from scheduled_tasks.models import TaskState  # noqa: PLC0415
    from scheduled_tasks.sync import sync  # noqa: PLC0415

    written_here = using == TaskState.objects.all().write_alias
    if not (app_settings.SYNC_AFTER_MIGRATE and written_here and options.get("plan") is not None):
        return
    if TaskState._meta.db_table not in connections[using].introspection.table_names():  # noqa: SLF001
        return  # migrated back to zero
    for change in sync():
        if verbosity > 0:
            print(f"  scheduled task: {change}")  # noqa: T201 -- migrate's own way to report
