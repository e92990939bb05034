"""The logs of runs, line by line."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

#: Names of loggers are cut to this number of characters.
MAX_LOGGER_LENGTH = 200


class ExecutionLog(models.Model):
    """One line of the log of an execution. ``level`` is a number of the logging module."""

    execution = models.ForeignKey(
        "scheduled_tasks.Execution",
        on_delete=models.CASCADE,
        related_name="log_lines",
        db_index=False,
        verbose_name=_("execution"),
    )
    attempt = models.PositiveIntegerField(_("attempt"))
    logged_at = models.DateTimeField(_("logged at"))
    level = models.PositiveSmallIntegerField(_("level"))
    logger = models.CharField(_("logger"), max_length=MAX_LOGGER_LENGTH)
    message = models.TextField(_("message"))

    class Meta:
        verbose_name = _("log line")
        verbose_name_plural = _("log lines")
        ordering = ("pk",)
        default_permissions = ()
        indexes = (models.Index(fields=["execution", "id"], name="scheduled_tasks_log"),)
