"""The attempts of an execution that were not its last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from scheduled_tasks.models.execution import Execution


class AttemptOutcome(models.TextChoices):
    """How an attempt ended, if another one followed it."""

    FAILED = "failed", _("failed")
    POSTPONED = "postponed", _("postponed")
    LOST = "lost", _("lost")
    GIVEN_BACK = "given_back", _("returned to the queue")


class Attempt(models.Model):
    """An earlier attempt of an execution. The execution itself holds the last one."""

    Outcome = AttemptOutcome

    execution = models.ForeignKey(
        "scheduled_tasks.Execution",
        on_delete=models.CASCADE,
        related_name="attempts",
        # The unique constraint below has an index that begins with it.
        db_index=False,
        verbose_name=_("execution"),
    )
    number = models.PositiveIntegerField(_("number"))
    outcome = models.CharField(_("outcome"), max_length=10, choices=AttemptOutcome.choices)
    # No foreign key: rows of workers are deleted a day after they are gone.
    worker = models.CharField(_("worker id"), max_length=36, blank=True)
    worker_label = models.CharField(_("worker"), max_length=200, blank=True)
    claimed_at = models.DateTimeField(_("claimed at"), null=True)
    started_at = models.DateTimeField(_("started at"), null=True)
    finished_at = models.DateTimeField(_("finished at"))
    duration_ms = models.PositiveBigIntegerField(_("duration"), null=True)
    error_category = models.CharField(_("error category"), max_length=20, blank=True)
    error = models.TextField(_("error"), blank=True)
    traceback = models.TextField(_("traceback"), blank=True)
    peak_memory_mb = models.PositiveIntegerField(_("peak memory in MB"), null=True)

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        ordering = ("execution", "number")
        default_permissions = ("view",)
        constraints = (
            models.UniqueConstraint(
                fields=["execution", "number"], name="scheduled_tasks_attempt_number"
            ),
        )

    def __str__(self) -> str:
        return f"{self.number}: {self.get_outcome_display()}"

    @classmethod
    def of(cls, execution: Execution, outcome: str) -> Attempt:
        """Build the attempt that an execution has just made, from the values of its row."""
        return cls(
            execution=execution,
            number=execution.attempt,
            outcome=outcome,
            **{name: getattr(execution, name) for name in COPIED},
        )


#: What an attempt keeps of the row of its execution.
COPIED = (
    "worker",
    "worker_label",
    "claimed_at",
    "started_at",
    "finished_at",
    "duration_ms",
    "error_category",
    "error",
    "traceback",
    "peak_memory_mb",
)
