"""The app's entry in INSTALLED_APPS."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from django.apps import AppConfig, apps
from django.core import checks
from django.core.management.base import CommandError
from django.db import connections, router
from django.db.migrations.executor import MigrationExecutor
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class ScheduledTasksConfig(AppConfig):
    """Registers system checks and imports handlers; it makes no query and starts no thread."""

    name = "scheduled_tasks"
    verbose_name = _("Scheduled tasks")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Import the handler modules and register the checks."""
        from scheduled_tasks.checks import database_checks, static_checks  # noqa: PLC0415
        from scheduled_tasks.handlers.registry import autodiscover  # noqa: PLC0415

        autodiscover()
        for check in static_checks:
            checks.register(check, "scheduled_tasks")
        for check in database_checks:
            checks.register(check, "scheduled_tasks", checks.Tags.database)
        post_migrate.connect(sync_after_migrate, sender=self)


def sync_after_migrate(
    *, using: str, verbosity: int, stdout: TextIO | None = None, **options: Any
) -> None:
    """Sync declared tasks after ``migrate``, but not after ``flush``.

    Raise CommandError if the declarations are broken.
    """
    from scheduled_tasks.conf import app_settings  # noqa: PLC0415 -- needs loaded apps
    from scheduled_tasks.exceptions import ScheduledTasksError  # noqa: PLC0415
    from scheduled_tasks.models.sql.transactions import write_alias  # noqa: PLC0415
    from scheduled_tasks.operations.sync import sync  # noqa: PLC0415

    # ``flush`` sends this signal without a plan, and ``migrate`` to an older migration leaves
    # tables that the models do not fit.
    migrated = options.get("plan") is not None and is_up_to_date(using)
    written_here = using == write_alias() and has_tables(using)
    if not (app_settings.SYNC_AFTER_MIGRATE and migrated and written_here):
        return
    try:
        changes = sync()
    except ScheduledTasksError as error:
        raise CommandError(f"The tables are up to date, declared tasks are not: {error}") from error
    for change in changes:
        if verbosity > 0:
            (stdout or sys.stdout).write(f"  scheduled task: {change}\n")


def is_up_to_date(using: str) -> bool:
    """Whether all migrations of this app are applied."""
    executor = MigrationExecutor(connections[using])
    return not executor.migration_plan(executor.loader.graph.leaf_nodes("scheduled_tasks"))


def has_tables(using: str) -> bool:
    """Whether a database holds the tables of this app.

    A router may keep them out of it, and ``migrate --fake`` makes none, though both record the
    migrations as applied.
    """
    models = list(apps.get_app_config("scheduled_tasks").get_models())
    if not all(router.allow_migrate_model(using, model) for model in models):
        return False
    connection = connections[using]
    with connection.cursor() as cursor:
        found = set(connection.introspection.table_names(cursor))
    return all(model._meta.db_table in found for model in models)  # noqa: SLF001
