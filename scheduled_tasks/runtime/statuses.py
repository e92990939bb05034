"""The statuses and triggers of executions, and the sets of them that rules name."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Status(models.TextChoices):
    """The status of an execution."""

    QUEUED = "queued", _("queued")
    RUNNING = "running", _("running")
    SUCCESS = "success", _("success")
    PARTIAL = "partial", _("partial")
    FAILED = "failed", _("failed")
    SKIPPED = "skipped", _("skipped")
    CANCELLED = "cancelled", _("cancelled")
    MISSED = "missed", _("missed")


class Trigger(models.TextChoices):
    """Why an execution exists."""

    SCHEDULE = "schedule", _("schedule")
    CATCH_UP = "catch_up", _("catch-up")
    MANUAL = "manual", _("manual")
    CLI = "cli", _("command line")
    REQUEUE = "requeue", _("requeue")


UNFINISHED = (Status.QUEUED, Status.RUNNING)
FINISHED = tuple(status for status in Status if status not in UNFINISHED)
SUCCEEDED = (Status.SUCCESS, Status.PARTIAL)
#: The statuses of what should have succeeded, and did not.
WENT_WRONG = (Status.FAILED, Status.MISSED)
#: The statuses of runs that raise alerts.
ENDED_BADLY = (Status.PARTIAL, Status.FAILED)
#: The statuses of runs whose handler returned or raised Skip.
WELL_ENDED = (*SUCCEEDED, Status.SKIPPED)
#: The statuses with which a handler can end.
HANDLER_STATUSES = (*WELL_ENDED, Status.FAILED, Status.CANCELLED)

#: Triggers of what the schedule asked for; a person or code asked for anything else.
OF_SLOTS = (Trigger.SCHEDULE, Trigger.CATCH_UP)

#: What makes a dead letter: columns and their values. Runs in test mode never are dead letters.
DEAD_LETTER = {"status": Status.FAILED.value, "resolved_at": None, "test_mode": False}
