"""Sentry check-ins: each task is a monitor of Sentry Crons, with the schedule of the task.

Nothing here is used until a project calls ``connect()``, which needs the package sentry-sdk. The
begin of a run is reported from its own process, its end from the process that has committed it.
"""

from __future__ import annotations

import hashlib
import math
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from django.core.exceptions import ImproperlyConfigured

from scheduled_tasks.monitoring.heartbeats.run_ids import run_id
from scheduled_tasks.runtime.context import TaskContext
from scheduled_tasks.runtime.statuses import WELL_ENDED
from scheduled_tasks.schedules import Cron, Interval, Schedule
from scheduled_tasks.signals import execution_finished, execution_started

try:
    import sentry_sdk
    from sentry_sdk.crons import MonitorStatus, capture_checkin
except ImportError as error:
    raise ImproperlyConfigured("Sentry check-ins need sentry-sdk: install sentry-sdk.") from error

# For annotations only: a project's apps.py may import this module before there are models.
if TYPE_CHECKING:
    from sentry_sdk.types import MonitorConfig

    from scheduled_tasks.models.execution import Execution
    from scheduled_tasks.models.task import Task

__all__ = ("connect",)

#: In characters, the longest name of a monitor, and what may not be in one.
MAX_SLUG_LENGTH = 50
UNFIT = re.compile(r"[^a-z0-9_-]")
#: The digits that keep apart names that would be the same without them.
DIGEST_LENGTH = 8
#: The units in which Sentry takes intervals, the largest first.
UNITS = {
    "day": timedelta(days=1),
    "hour": timedelta(hours=1),
    "minute": timedelta(minutes=1),
}


def connect() -> None:
    """Report each run to Sentry from now on. Call it in ``ready()``, in every process."""
    execution_started.connect(report_start, dispatch_uid="scheduled_tasks.sentry")
    execution_finished.connect(report_end, dispatch_uid="scheduled_tasks.sentry")


def report_start(*, context: TaskContext, **_: Any) -> None:
    """Report that a run is in progress. A further attempt tells Sentry that it still is."""
    if not context.test_mode:
        capture_checkin(
            monitor_slug=slug_of(context.task_name),
            check_in_id=check_in_id(context.execution_id),
            status=MonitorStatus.IN_PROGRESS,
        )


def report_end(*, execution: Execution, **_: Any) -> None:
    """Report how a run ended. What was never tried is for Sentry to miss."""
    if execution.test_mode or not execution.attempt:
        return
    ended_well = execution.status in WELL_ENDED
    duration = execution.duration_ms
    capture_checkin(
        monitor_slug=slug_of(execution.task_name),
        check_in_id=check_in_id(execution.pk),
        status=MonitorStatus.OK if ended_well else MonitorStatus.ERROR,
        duration=None if duration is None else duration / 1000,
        monitor_config=config_of(execution.task) if execution.task else None,
    )


def check_in_id(execution_id: int) -> str:
    """Return the id of a run's check-in, the same in every process of an environment."""
    environment = sentry_sdk.get_client().options.get("environment")
    return run_id(execution_id, environment=environment or "").hex


def slug_of(name: str) -> str:
    """Return the name of a task as a monitor can have it; most stay as they are."""
    if len(name) <= MAX_SLUG_LENGTH and not UNFIT.search(name):
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:DIGEST_LENGTH]
    return f"{UNFIT.sub('-', name)[: MAX_SLUG_LENGTH - DIGEST_LENGTH - 1]}-{digest}"


def config_of(task: Task) -> MonitorConfig | None:
    """Return what Sentry is told of a task. None if it has no schedule that Sentry could follow."""
    schedule = task.parse_schedule()
    if (written := schedule_of(schedule)) is None:
        return None
    config: dict[str, Any] = {"schedule": written, "timezone": task.timezone}
    if task.start_within:
        config["checkin_margin"] = in_minutes(task.start_within)
    if longest := task.max_runtime or task.timeout:
        config["max_runtime"] = in_minutes(longest)
    return cast("MonitorConfig", config)


def schedule_of(schedule: Schedule | None) -> dict[str, Any] | None:
    """Return a schedule in the form of Sentry, which knows no seconds, and nothing that is once."""
    match schedule:
        case Cron():
            return {"type": "crontab", "value": schedule.expression}
        case Interval():
            for unit, length in UNITS.items():
                if not schedule.every % length:
                    return {"type": "interval", "value": schedule.every // length, "unit": unit}
    return None


def in_minutes(seconds: float) -> int:
    return math.ceil(seconds / 60)
