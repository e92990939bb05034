"""Global pauses: nothing is fired or claimed while one is in force."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Self

from django.db import models
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.models.sql.compiled import CompiledQuery
from scheduled_tasks.models.validators import refuse_unshowable

#: In characters.
MAX_REASON_LENGTH = 255


class PauseQuerySet(models.QuerySet["Pause"]):
    def in_force(self, now: datetime) -> Self:
        """Keep those that are in force at a moment."""
        return self.ending_after(now).filter(begun_at__lte=now)

    def ending_after(self, moment: datetime) -> Self:
        """Keep those that are in force, or begin, after a moment."""
        open_end = models.Q(until=None) | models.Q(until__gt=moment)
        return self.filter(open_end, models.Q(ended_at=None) | models.Q(ended_at__gt=moment))


class Pause(models.Model):
    """One global pause. Rows stay when it is over: they tell why slots have no execution."""

    begun_at = models.DateTimeField(_("started at"))
    until = models.DateTimeField(
        _("until"),
        null=True,
        blank=True,
        validators=[refuse_unshowable],
        help_text=_("Leave empty to pause until resumed."),
    )
    reason = models.CharField(_("reason"), max_length=MAX_REASON_LENGTH, blank=True)
    begun_by = models.CharField(_("started by"), max_length=200, blank=True)
    ended_at = models.DateTimeField(_("ended at"), null=True)
    ended_by = models.CharField(_("ended by"), max_length=200, blank=True)

    objects = PauseQuerySet.as_manager()

    class Meta:
        """The newest first."""

        verbose_name = _("global pause")
        verbose_name_plural = _("global pauses")
        ordering = ("-begun_at",)
        default_permissions = ("add", "change", "view")

    def __str__(self) -> str:
        """Return the reason, as the rows that cover slots have it."""
        return paused(self.until, self.reason, what="All tasks paused")

    def covers(self, slot: datetime) -> bool:
        """Whether a slot lies inside it."""
        ends = [moment for moment in (self.until, self.ended_at) if moment is not None]
        return self.begun_at <= slot and all(slot < end for end in ends)


def paused(until: datetime | None, reason: str, *, what: str = "Paused") -> str:
    """Return a sentence with the end of a pause and its reason."""
    # In UTC and English: the text is stored, and a covering row grows while it stays the same.
    end = f" until {until.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if until else ""
    return f"{what}{end}: {reason}" if reason else f"{what}{end}."


def some_after(everything: PauseQuerySet, moment: datetime) -> models.QuerySet[Pause, int]:
    """Return a query for the id of one that is in force, or begins, after a moment."""
    return everything.ending_after(moment).order_by().values_list("pk", flat=True)[:1]


SOME_PAUSE = CompiledQuery(some_after, "moment")
