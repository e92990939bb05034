"""Secrets in forms: shown as masks, and kept where the mask is left as it is."""

from __future__ import annotations

import json
from typing import Any

from scheduled_tasks.exceptions import InvalidPayload
from scheduled_tasks.runtime.redaction import mask_secrets_in_json

REFUSED = "is not accepted. Its value is not shown here because of its name."
MOVED = (
    "A masked value stays what it is only next to its name: enter the value again, or undo what "
    "you have changed beside it."
)


def masked_text(value: Any) -> str:
    """Return a stored value as the text of a form field, without secrets."""
    shown = mask_secrets_in_json(value)
    return shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)


def has_secrets(name: str, value: Any) -> bool:
    return bool(mask_secrets_in_json({name: value}) != {name: value})


def unmasked(value: Any, stored: Any) -> Any:
    """Return a value from a form with the stored secrets wherever it holds their masks.

    Raise InvalidPayload if one of them would be shown then, because what marks it has changed.
    """
    given = restored(value, stored, mask_secrets_in_json(stored))
    if mask_secrets_in_json(given) != mask_secrets_in_json(value):
        raise InvalidPayload({"payload": [MOVED]})
    return given


def restored(value: Any, stored: Any, shown: Any) -> Any:
    match value, stored, shown:
        case dict(), dict(), dict():
            return {
                key: restored(item, stored[key], shown[key])
                if key in stored and key in shown
                else item
                for key, item in value.items()
            }
        case list(), list(), list() if len(value) == len(stored) == len(shown):
            return [restored(*items) for items in zip(value, stored, shown, strict=True)]
        case _, _, str() if value == shown:
            return stored
    return value
