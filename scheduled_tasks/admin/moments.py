"""Moments that people type."""

from __future__ import annotations

from datetime import datetime

from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _

from scheduled_tasks.models.policies import FIRST_YEAR, LAST_YEAR


def refuse_unshowable(moment: datetime) -> None:
    """Refuse years near the ends of the calendar, which some zones cannot show."""
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        said = _("Enter a date between the years %(first)d and %(last)d.")
        raise ValidationError(said % {"first": FIRST_YEAR, "last": LAST_YEAR})


def refuse_past(moment: datetime) -> None:
    """Refuse what has been already."""
    if moment <= timezone.now():
        raise ValidationError(_("Enter a moment in the future."))
