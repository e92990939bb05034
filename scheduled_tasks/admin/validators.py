"""Validators of form fields."""

from __future__ import annotations

from datetime import datetime

from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _


def validate_future(value: datetime) -> None:
    """Raise ValidationError for a time that has passed."""
    if value <= timezone.now():
        raise ValidationError(_("Enter a time in the future."))
