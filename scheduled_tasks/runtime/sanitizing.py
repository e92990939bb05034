"""Make what handlers produce fit to be stored, whatever they produce."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from scheduled_tasks.conf import app_settings
from scheduled_tasks.runtime.redaction import mask_secrets, mask_secrets_in_json

logger = logging.getLogger(__name__)

#: No text is looked through for secrets that is longer, in characters: its middle is left out.
MAX_REDACTED_LENGTH = 1_000_000


def sanitized_text(text: str, *, limit: int | None = None) -> str:
    """Return the text without what databases refuse (NUL, lone surrogates), cut to ``limit``.

    ``limit`` counts characters and defaults to MAX_STORED_LENGTH. A cut is marked, and it takes
    the middle out: the beginning of a traceback and its end both matter.
    """
    limit = limit or app_settings.MAX_STORED_LENGTH
    clean = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    clean = clean.encode("utf-8", "replace").decode("utf-8")
    if len(clean) <= limit:
        return clean
    mark = f"\n… {len(clean) - limit} characters cut …\n"
    kept = max(limit - len(mark), 2)
    return (clean[: kept // 2] + mark + clean[len(clean) - kept // 2 :])[:limit]


def sanitized_json(value: Any, *, shown: Callable[[Any], Any] = lambda value: value) -> Any:
    """Return the value as JSON can hold it: dates, decimals and UUIDs become text.

    What has no JSON form, and what is too long, is kept as text with a warning in the log, so
    that a result never fails the run that made it. ``shown`` makes of JSON what may be stored.
    """
    if value is None:
        return None
    try:
        text = json.dumps(plain(value), cls=DjangoJSONEncoder, allow_nan=False)
        value = shown(json.loads(text))
    except Exception as error:  # noqa: BLE001 -- a lazy text or a strange dict may raise anything
        logger.warning("result kept as text, it has no JSON form: %r", type(error).__name__)
        return sanitized_text(safe_repr(value))
    if len(text) > app_settings.MAX_STORED_LENGTH:
        logger.warning("result cut to %s characters", app_settings.MAX_STORED_LENGTH)
        return sanitized_text(json.dumps(value))
    return value


def redacted_text(text: str, *, limit: int | None = None) -> str:
    """Return the text as it may be stored and read by people: storable, without secrets."""
    if len(text) > MAX_REDACTED_LENGTH:
        text = sanitized_text(text, limit=MAX_REDACTED_LENGTH)
    # Before it is cut: a name may go with the middle, and leave its value behind.
    return sanitized_text(mask_secrets(text), limit=limit)


def redacted_json(value: Any) -> Any:
    """Return the value as it may be stored and read by people: storable, without secrets."""
    kept = sanitized_json(value, shown=mask_secrets_in_json)
    return mask_secrets(kept) if isinstance(kept, str) else kept


def strict_json(value: Any) -> Any:
    """Return the value as JSON can hold it, like ``sanitized_json``, but whole or not at all.

    Raise TypeError for what has no JSON form, ValueError for what is too long.
    """
    try:
        text = json.dumps(plain(value), cls=DjangoJSONEncoder, allow_nan=False)
    except Exception as error:
        raise TypeError(f"{safe_repr(value)[:200]} has no JSON form: {error}") from error
    if len(text) > app_settings.MAX_STORED_LENGTH:
        raise ValueError(
            f"It has {len(text)} characters as JSON, more than MAX_STORED_LENGTH "
            f"({app_settings.MAX_STORED_LENGTH})."
        )
    return json.loads(text)


def plain(value: Any) -> Any:
    """Return containers and text in the shape that every database's JSON type takes."""
    match value:
        case str():
            return (
                value.replace("\0", "\N{REPLACEMENT CHARACTER}")
                .encode("utf-8", "replace")
                .decode("utf-8")
            )
        case float() if not math.isfinite(value):
            return str(value)
        case dict():
            return {plain(key): plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(item) for item in value]
        case _:
            return value


def safe_repr(value: Any) -> str:
    """Return the repr of anything, whatever its own does."""
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 -- a broken __repr__ must not fail the run
        return f"<{type(value).__name__} whose repr() raised {type(error).__name__}>"
