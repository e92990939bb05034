"""Moments that people type."""

from __future__ import annotations

from datetime import datetime

from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _


def refuse_past(moment: datetime) -> None:
    """Refuse what has been already."""
    if moment <= timezone.now():
        raise ValidationError(_("Enter a moment in the future."))
