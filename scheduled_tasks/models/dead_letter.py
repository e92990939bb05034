"""What the admin lists as dead letters."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from scheduled_tasks.models.execution import Execution


class DeadLetter(Execution):
    """An execution that failed for good, as it is grouped with others of one cause."""

    class Meta:
        """No rows of its own, and no permissions: whoever may see executions may see these."""

        proxy = True
        default_permissions = ()
        verbose_name = _("failure")
        verbose_name_plural = _("failures")
