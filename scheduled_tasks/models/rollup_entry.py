"""What single transactions add to the rollups, until it is folded into them."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.models.sql.transactions import LockingQuerySet


class RollupEntryQuerySet(LockingQuerySet["RollupEntry"]):
    """Adds the locks of the engine."""


class RollupEntry(models.Model):
    """What one transaction adds to the rollups of its tasks.

    A transaction that ends executions appends one row, whatever their number: it waits for no
    other, and reads nothing. A worker folds the rows into ``Rollup`` once a minute and deletes
    them. Readers of the figures add those that are still here.
    """

    # By the id of a task: its name, and a list of ``monitoring.rollups.Fact``.
    facts = models.JSONField(_("facts"))

    objects = RollupEntryQuerySet.as_manager()

    class Meta:
        verbose_name = _("rollup entry")
        verbose_name_plural = _("rollup entries")
        default_permissions = ()
