"""The gate for what people and code give: a sentence for each value that no database can store.

Every door leads through it: the fields of a task when they are cleaned, and what is recorded with
an operation when that begins.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from numbers import Integral, Real
from typing import Any

from django.db import models
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from scheduled_tasks.exceptions import InvalidTask
from scheduled_tasks.handlers.payloads.json_values import MAX_JSON_LENGTH, flaw
from scheduled_tasks.models.task_change import MAX_NAME_LENGTH
from scheduled_tasks.runtime.json_encoding import is_storable
from scheduled_tasks.runtime.sanitizing import safe_repr

#: Of a text without a limit of its own, in characters.
MAX_TEXT_LENGTH = 100_000
#: Of a value in a sentence, in characters.
MAX_SHOWN_LENGTH = 100
MAX_BITS_OF_FLOAT = 1023


def flaws_of_fields(
    row: models.Model, fields: Iterable[models.Field[Any, Any]]
) -> dict[str, list[str]]:
    """Return what is wrong with the values of a row, by field, before Django looks at them.

    Django leaves None and deep or huge JSON to the database, or fails on them itself.
    """
    found = {field.name: flaw_of(field, getattr(row, field.attname)) for field in fields}
    return {name: [said] for name, said in found.items() if said is not None}


def flaw_of(field: models.Field[Any, Any], value: Any) -> str | None:
    match field, value:
        case models.JSONField(), None:
            return None  # refused with whatever else is no object
        case _field, None:
            return None if field.null else _("may not be empty (None).")
        case models.JSONField(), _value:
            return flaw_of_json(value)
        case models.CharField() | models.TextField(), str() | Promise():
            # Columns with a limit have a validator for it; what is no choice is quoted whole.
            return flaw_of_text(str(value), MAX_SHOWN_LENGTH if field.choices else MAX_TEXT_LENGTH)
        case models.CharField() | models.TextField(), _value:
            return not_text(value)
    return flaw_of_kind(field, value)


def flaw_of_kind(field: models.Field[Any, Any], value: Any) -> str | None:
    """Return a sentence for a value that Django's own check of such a field lets pass, or fails on.

    It takes "" and empty lists as nothing, and cuts fractions off.
    """
    match field, value:
        case models.BooleanField(), _value if not isinstance(value, bool):
            return _("must be True or False, not %s.") % shown(value)
        case models.DateTimeField(), _value if not (isinstance(value, datetime) or is_word(value)):
            return _("must be a date and time with a time zone, not %s.") % shown(value)
        case models.IntegerField(), _value if not (is_whole(value) or is_word(value)):
            return _("must be a whole number, not %s.") % shown(value)
        case models.FloatField(), _value if not (is_real(value) or is_word(value)):
            return _("must be a number, not %s.") % shown(value)
        case models.FloatField(), int() if value.bit_length() > MAX_BITS_OF_FLOAT:
            return _("is too large a number.")
    return None


def is_word(value: Any) -> bool:
    """Whether a value is a short text, which Django may read as a number or a moment."""
    return isinstance(value, str) and 0 < len(value.strip()) <= len(value) <= MAX_SHOWN_LENGTH


def is_whole(value: Any) -> bool:
    return is_real(value) and (isinstance(value, Integral) or float(value).is_integer())


def is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def shown(value: Any) -> str:
    return safe_repr(value, limit=MAX_SHOWN_LENGTH)


def flaw_of_json(value: Any) -> str | None:
    """Return why a JSON value cannot be stored, None if it can."""
    if said := flaw(value):
        return said
    length = len(json.dumps(value, ensure_ascii=False))
    return too_long(length, MAX_JSON_LENGTH) if length > MAX_JSON_LENGTH else None


def flaw_of_text(text: str, limit: int) -> str | None:
    """Return why a text cannot be stored, None if it can."""
    if len(text) > limit:
        return too_long(len(text), limit)
    if not is_storable(text):
        return _("has a NUL or half a surrogate pair in its text, which cannot be stored.")
    return None


def too_long(length: int, limit: int) -> str:
    return _("has %(length)d characters; at most %(limit)d are stored.") % {
        "length": length,
        "limit": limit,
    }


def refuse_unstorable(*, limit: int = MAX_TEXT_LENGTH, **texts: Any) -> None:
    """Raise InvalidTask, by argument, for texts that cannot be recorded. ``by`` names a person."""
    limits = {"by": MAX_NAME_LENGTH}
    found = {name: flaw_of_record(text, limits.get(name, limit)) for name, text in texts.items()}
    if errors := {name: [said] for name, said in found.items() if said is not None}:
        raise InvalidTask(errors)


def flaw_of_record(text: Any, limit: int) -> str | None:
    if not isinstance(text, str):
        return not_text(text)
    return flaw_of_text(text, limit)


def not_text(value: Any) -> str:
    return _("must be text, not %s.") % shown(value)
