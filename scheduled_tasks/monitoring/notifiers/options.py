"""Checks of the options of notifiers; ``loading`` adds the name of the notifier to the errors."""

from __future__ import annotations

from typing import Any

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
