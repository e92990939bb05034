"""What the admin lists as dead letters."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from scheduled_tasks.models.execution import Execution


class DeadLetter(Execution):
    """A failed, unresolved execution; the admin groups them by cause."""

    class Meta:
        """It has no table and no permissions: to view executions is to view these."""

        proxy = True
        default_permissions = ()
        verbose_name = _("failure")
        verbose_name_plural = _("failures")
