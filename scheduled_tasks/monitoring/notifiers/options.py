"""Checks of the options of notifiers; ``loading`` adds the name of the notifier to the errors."""

from __future__ import annotations

from email.utils import getaddresses
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from scheduled_tasks.exceptions import InvalidSettings


def refused(option: str, wanted: str) -> InvalidSettings:
    """Return the error for an option. Its value is not quoted: it may hold a secret."""
    return InvalidSettings(f"the option {option!r} must be {wanted}.")


def texts(option: str, value: Any, wanted: str) -> list[str]:
    """Return one text, or a list of texts, as a list. Raise InvalidSettings for anything else."""
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, (list, tuple)) or not found:
        raise refused(option, wanted)
    if not all(isinstance(each, str) and each.strip() for each in found):
        raise refused(option, wanted)
    return list(found)


def is_address(text: object) -> bool:
    """Whether it is a text with one mail address: ``a@b.example`` or ``Ada <a@b.example>``."""
    if not isinstance(text, str):
        return False
    found = getaddresses([text])
    if len(found) != 1 or not text.isprintable():
        return False
    try:
        validate_email(found[0][1])
    except ValidationError:
        return False
    return True
