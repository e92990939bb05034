"""Which alerts a task raises, how severe they are, and who hears of its runs: columns of a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.conf import app_settings
from scheduled_tasks.handlers.retries import MAX_INTEGER
from scheduled_tasks.models.validators import refuse_unknown_conditions, refuse_unusable_url
from scheduled_tasks.runtime.conditions import NEED_THRESHOLD, SEVERITIES


class AlertPolicies(models.Model):
    """The policies of a task that concern alerts. docs/alerts.md explains them."""

    notify_on = models.JSONField(
        _("notify on"),
        null=True,
        blank=True,
        validators=[refuse_unknown_conditions],
        help_text=_(
            "Conditions that raise alerts for this task. Leave empty for those that the settings "
            "and the fields above turn on."
        ),
    )
    severity = models.CharField(
        _("severity"),
        max_length=10,
        blank=True,
        choices=[
            ("", _("That of the condition")),
            *((each.value, each.label) for each in SEVERITIES),
        ],
        help_text=_("Severity of the alerts of this task."),
    )
    alert_after_failures = models.PositiveIntegerField(
        _("alert after failures"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_INTEGER)],
        help_text=_("Failures in a row before an alert. Leave empty for the default."),
    )
    start_within = models.PositiveIntegerField(
        _("start within"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_INTEGER)],
        help_text=_("Seconds. Raise an alert if a run has not started this long after its time."),
    )
    no_success_for = models.PositiveIntegerField(
        _("no success for"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_INTEGER)],
        help_text=_("Seconds. Raise an alert if the task has not succeeded for this long."),
    )
    max_runtime = models.PositiveIntegerField(
        _("max. runtime"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_INTEGER)],
        help_text=_("Seconds. Raise an alert if a run takes longer. The run is not stopped."),
    )
    remind_every = models.PositiveIntegerField(
        _("remind every"),
        null=True,
        blank=True,
        validators=[MinValueValidator(60), MaxValueValidator(MAX_INTEGER)],
        help_text=_("Seconds. Send an open alert again this often. Leave empty for the default."),
    )
    heartbeat_url = models.CharField(
        _("heartbeat URL"),
        max_length=500,
        blank=True,
        validators=[refuse_unusable_url],
        help_text=_("A service that is told of each start, success and failure of this task."),
    )

    class Meta:
        abstract = True

    def errors_of_conditions(self) -> dict[str, list[Any]]:
        """Return what is wrong with conditions that need a threshold and have none."""
        said = _("%(code)s needs %(name)s: set it for this task too, in seconds.")
        missing = [
            said % {"code": repr(code.value), "name": name}
            for code, name in NEED_THRESHOLD.items()
            if isinstance(self.notify_on, list) and code in self.notify_on
            if getattr(self, name) is None and not has_threshold(code, name)
        ]
        return {"notify_on": missing} if missing else {}


def has_threshold(code: str, name: str) -> bool:
    """Whether the setting CONDITIONS has a threshold for tasks that set none."""
    given = app_settings.CONDITIONS.get(code)
    return isinstance(given, Mapping) and given.get(name) is not None
