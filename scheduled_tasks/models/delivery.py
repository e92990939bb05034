"""The outbox: what has to be sent, to whom, and how often that was tried."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from django.db import models
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.models.sql.transactions import LockingQuerySet


class DeliveryQuerySet(LockingQuerySet["Delivery"]):
    def pending(self) -> Self:
        """Keep those that are neither sent nor given up."""
        return self.filter(finished_at=None)

    def due(self, now: datetime) -> Self:
        """Keep those that may be sent now: the first of each sequence, unless it is claimed."""
        earlier = self.model._default_manager.using(self.db).filter(  # noqa: SLF001
            finished_at=None, sequence=models.OuterRef("sequence"), pk__lt=models.OuterRef("pk")
        )
        due = self.unclaimed(now).filter(due_at__lte=now)
        return due.exclude(models.Exists(earlier))

    def unclaimed(self, now: datetime) -> Self:
        """Keep those that wait and are not being sent."""
        free = models.Q(claimed_until=None) | models.Q(claimed_until__lte=now)
        return self.pending().filter(free)

    def held(self, now: datetime) -> Self:
        """Keep those that quiet hours and maintenance windows hold back at a moment."""
        # What is due at once is not held, though a clock that is behind may find it in the future.
        held = models.Q(due_at__gt=now) & models.Q(due_at__gt=models.F("created_at"))
        return self.pending().filter(held, attempts=0)

    def in_order(self) -> Self:
        """Sort what is pending by the time at which it is due, along the index."""
        # finished_at is NULL for all of them, but PostgreSQL follows the index only if it is named.
        return self.order_by("finished_at", "due_at", "pk")


class Delivery(models.Model):
    """One message of the outbox. It is written in the transaction of what it reports.

    A worker claims it for a while by a guarded UPDATE, sends it, and writes what came of it.
    Messages of one ``sequence`` go out in the order in which they were written.
    """

    class Transport(models.TextChoices):
        """What sends it: a notifier by its name, the mail to recipients, or a heartbeat."""

        NOTIFIER = "notifier", _("notifier")
        MAIL = "mail", _("mail to recipients")
        HEARTBEAT = "heartbeat", _("heartbeat")

    class Event(models.TextChoices):
        """What it reports."""

        RAISED = "raised", _("raised")
        REMINDER = "reminder", _("reminder")
        CLEARED = "cleared", _("cleared")
        START = "start", _("start")
        SUCCESS = "success", _("success")
        FAIL = "fail", _("fail")

    alert = models.ForeignKey(
        "scheduled_tasks.Alert",
        on_delete=models.CASCADE,
        null=True,
        related_name="deliveries",
        verbose_name=_("alert"),
    )
    transport = models.CharField(_("transport"), max_length=10, choices=Transport.choices)
    event = models.CharField(_("event"), max_length=10, choices=Event.choices)
    # The name of the notifier, the addresses of the mail, or the URL of the heartbeat.
    target = models.TextField(_("target"))
    # What goes to one receiver is sent by one thread of a worker, and waits for no other.
    lane = models.CharField(_("lane"), max_length=200)
    sequence = models.CharField(_("sequence"), max_length=200)
    # What a heartbeat reports. For other messages, what became of receivers: ``left``, ``refused``.
    body = models.JSONField(_("body"), default=dict)
    created_at = models.DateTimeField(_("created at"))
    due_at = models.DateTimeField(_("due at"))
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    # Claims in a row that ended without a result, because the worker died or was cut off.
    losses = models.PositiveSmallIntegerField(_("losses"), default=0)
    claimed_by = models.CharField(_("claimed by"), max_length=36, blank=True)
    claimed_until = models.DateTimeField(_("claimed until"), null=True)
    finished_at = models.DateTimeField(_("finished at"), null=True)
    delivered = models.BooleanField(_("delivered"), default=False)
    error = models.TextField(_("error"), blank=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        ordering = ("pk",)
        default_permissions = ("view",)
        # Without conditions: not every database has partial indexes.
        indexes = (
            models.Index(fields=["finished_at", "due_at", "id"], name="scheduled_tasks_outbox"),
            models.Index(fields=["sequence", "finished_at", "id"], name="scheduled_tasks_sequence"),
            models.Index(fields=["delivered", "finished_at"], name="scheduled_tasks_undelivered"),
        )

    def __str__(self) -> str:
        return f"{self.event} to {self.target}"

    @property
    def left(self) -> list[str]:
        """The receivers to send it to again, after an attempt that has reached only others."""
        return list(self._kept.get("left", ()))

    @property
    def refused(self) -> str:
        """A sentence about the receivers that it will not be sent to again, and why."""
        return str(self._kept.get("refused", ""))

    @property
    def task_name(self) -> str:
        """The name of the task, in a heartbeat; lanes of heartbeats are those of several tasks."""
        return str(self._kept.get("task_name", ""))

    @property
    def _kept(self) -> dict[str, Any]:
        """The body, if it is one: SQL by hand can write any JSON there."""
        return self.body if isinstance(self.body, dict) else {}
