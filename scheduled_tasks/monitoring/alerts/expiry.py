"""Deletes what was sent, and alerts that were cleared, when they have been kept long enough."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from django.db.models import Q

from scheduled_tasks.models import Alert, Delivery
from scheduled_tasks.models.alert import AlertQuerySet
from scheduled_tasks.models.delivery import DeliveryQuerySet
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.transactions import transactional
from scheduled_tasks.runtime.conditions import Condition


def cleared_before(moment: datetime, *, using: str) -> AlertQuerySet:
    """Return the alerts that were cleared before a moment, those that were raised first.

    Successes are not among them.
    """
    # What was cleared before was raised before: that has an index.
    cleared = Alert.objects.using(using).filter(open_key=None, cleared_at__lt=moment)
    others = cleared.exclude(condition=Condition.SUCCESS)
    return others.filter(raised_at__lt=moment).order_by("raised_at")


def successes_before(moment: datetime, *, using: str) -> AlertQuerySet:
    """Return the successes that were reported before a moment, the first ones first."""
    successes = Alert.objects.using(using).filter(condition=Condition.SUCCESS)
    return successes.filter(raised_at__lt=moment).order_by("raised_at")


def old_reminders(moment: datetime, *, using: str) -> DeliveryQuerySet:
    """Return the reminders of open alerts that were sent or given up before a moment.

    Who was told that an alert was raised is known as long as it is open.
    """
    open_alerts = Alert.objects.using(using).open().filter(raised_at__lt=moment)
    reminders = Delivery.objects.using(using).filter(event=Delivery.Event.REMINDER)
    return reminders.filter(alert__in=open_alerts, finished_at__lt=moment).order_by()


def finished_heartbeats(moment: datetime) -> Q:
    """Return the condition of a heartbeat that was sent or given up before a moment.

    Deliveries of alerts go with their alert.
    """
    return Q(alert=None, finished_at__lt=moment)


@transactional
def delete_alerts(expired: AlertQuerySet, *, limit: int, using: str = "") -> tuple[int, int]:
    """Delete the first of these alerts; return how many, and how many deliveries.

    The two are ``limit`` together unless nothing is left: an alert may have any number of
    deliveries, so those go first, and their alert once none is left.
    """
    ids = list(expired.values_list("pk", flat=True)[:limit])
    sent = Delivery.objects.using(using).filter(AnyOf("alert", ids)).order_by()
    first = list(sent.values_list("pk", flat=True)[:limit])
    deliveries = delete_deliveries(first, using=using) if first else 0
    without = ids[: limit - len(first)]
    if not without:
        return 0, deliveries
    _, deleted = Alert.objects.using(using).filter(AnyOf("pk", without), open_key=None).delete()
    alerts, late = (deleted.get(kind._meta.label, 0) for kind in (Alert, Delivery))  # noqa: SLF001
    return alerts, deliveries + late


@transactional
def delete_deliveries(ids: Collection[int], *, using: str = "") -> int:
    """Delete finished deliveries; return how many were there still."""
    return Delivery.objects.using(using).filter(AnyOf("pk", ids)).delete()[0]
