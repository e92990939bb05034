"""The conditions that alerts report, and how severe they are."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Condition(models.TextChoices):
    """What an alert reports. docs/alerts.md says when each is raised and cleared."""

    FAILED = "failed", _("failed")
    DEAD_LETTER = "dead_letter", _("dead letter")
    MISSED = "missed", _("missed slot")
    NOT_STARTED = "not_started", _("not started")
    NO_SUCCESS = "no_success", _("no success")
    RUNNING_LONG = "running_long", _("running long")
    TOO_FAST = "too_fast", _("suspiciously fast")
    PARTIAL = "partial", _("partial")
    OVER_INTERVAL = "over_interval", _("longer than its interval")
    WORKER_LOST = "worker_lost", _("worker lost")
    TOO_FEW_WORKERS = "too_few_workers", _("too few workers")
    SCHEDULER_BEHIND = "scheduler_behind", _("scheduler behind")
    PARKED = "parked", _("parked")
    INVARIANT = "invariant", _("invariant broken")
    SERVICE_DOWN = "service_down", _("service down")
    RATE_LIMIT = "rate_limit", _("rate limit")
    #: Not a problem: a task asks to be told.
    SUCCESS = "success", _("success")


class Severity(models.TextChoices):
    """How severe an alert is."""

    INFO = "info", _("info")
    WARNING = "warning", _("warning")
    ERROR = "error", _("error")
    CRITICAL = "critical", _("critical")


#: The conditions that concern a task; the others concern workers, services or keys.
OF_TASKS = (
    Condition.FAILED,
    Condition.DEAD_LETTER,
    Condition.MISSED,
    Condition.NOT_STARTED,
    Condition.NO_SUCCESS,
    Condition.RUNNING_LONG,
    Condition.TOO_FAST,
    Condition.PARTIAL,
    Condition.OVER_INTERVAL,
    Condition.PARKED,
    Condition.SUCCESS,
)
#: What is reported of disabled tasks, too: their runs go on, and their dead letters wait.
OF_DISABLED_TASKS = (Condition.DEAD_LETTER, Condition.RUNNING_LONG, Condition.SUCCESS)
#: The severities that a task may set for its alerts; a success is always INFO.
SEVERITIES = (Severity.WARNING, Severity.ERROR, Severity.CRITICAL)
#: The conditions that need a threshold, of the task or of the settings, by the policy that sets it.
NEED_THRESHOLD = {
    Condition.NOT_STARTED: "start_within",
    Condition.NO_SUCCESS: "no_success_for",
}
