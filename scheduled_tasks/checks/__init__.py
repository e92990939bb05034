"""System checks for misconfiguration, each with a hint: one module per subject."""

from __future__ import annotations

from scheduled_tasks.checks.databases import check_sqlite
from scheduled_tasks.checks.declared_tasks import check_declarations, check_handlers
from scheduled_tasks.checks.executors import check_executor, check_platform
from scheduled_tasks.checks.limits import check_limits, check_limits_in_database
from scheduled_tasks.checks.settings import (
    check_alerts,
    check_notifiers,
    check_settings,
    check_time_zone_support,
)

static_checks = (
    check_settings,
    check_time_zone_support,
    check_handlers,
    check_declarations,
    check_executor,
    check_platform,
    check_limits,
    check_notifiers,
    check_alerts,
    check_sqlite,
)
#: Checks that make queries. Django runs them only where it is told which databases to check.
database_checks = (check_limits_in_database,)
