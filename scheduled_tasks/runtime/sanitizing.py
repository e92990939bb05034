"""Makes whatever handlers produce storable.

``sanitized_…`` only makes a value storable; ``redacted_…`` also masks secrets in it, and is what
people may read.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from typing import Any

from scheduled_tasks.conf import app_settings
from scheduled_tasks.runtime.json_encoding import ExactJSONEncoder
from scheduled_tasks.runtime.redaction import mask_secrets, mask_secrets_in_json

logger = logging.getLogger(__name__)

#: Secrets are looked for in at most this many characters; the middle of a longer text is cut.
MAX_REDACTED_LENGTH = 1_000_000


def sanitized_text(text: str, *, limit: int | None = None) -> str:
    """Return the text without what databases refuse (NUL, lone surrogates), cut to ``limit``.

    ``limit`` counts characters and defaults to MAX_STORED_LENGTH. The cut is marked and removes
    the middle, because both the beginning and the end of a traceback matter.
    """
    limit = limit or app_settings.MAX_STORED_LENGTH
    clean = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    clean = clean.encode("utf-8", "replace").decode("utf-8")
    if len(clean) <= limit:
        return clean
    mark = f"\n… {len(clean) - limit} characters cut …\n"
    kept = max(limit - len(mark), 2)
    return (clean[: kept // 2] + mark + clean[len(clean) - kept // 2 :])[:limit]


def sanitized_json(value: Any, *, mask: Callable[[Any], Any] = lambda value: value) -> Any:
    """Return the value as JSON: dates, decimals and UUIDs become text.

    A value that has no JSON form, or is too long, is stored as text with a warning in the log, so
    that a result never fails its run. ``mask`` is applied to the JSON value.
    """
    if value is None:
        return None
    try:
        text = json.dumps(json_compatible(value), cls=ExactJSONEncoder, allow_nan=False)
        value = mask(json.loads(text))
    except Exception as error:  # noqa: BLE001 -- a lazy text or an odd dict may raise anything
        logger.warning(
            "result stored as text because it has no JSON form: %r", type(error).__name__
        )
        return sanitized_text(safe_repr(value))
    if len(text) > app_settings.MAX_STORED_LENGTH:
        logger.warning("result cut to %s characters", app_settings.MAX_STORED_LENGTH)
        return sanitized_text(json.dumps(value))
    return value


def redacted_text(text: str, *, limit: int | None = None) -> str:
    """Return the text sanitized and with secrets masked."""
    if len(text) > MAX_REDACTED_LENGTH:
        text = sanitized_text(text, limit=MAX_REDACTED_LENGTH)
    # Masked before it is cut: the cut may remove a name and leave its value.
    return sanitized_text(mask_secrets(text), limit=limit)


def redacted_json(value: Any) -> Any:
    """Return the value sanitized and with secrets masked."""
    stored = sanitized_json(value, mask=mask_secrets_in_json)
    return mask_secrets(stored) if isinstance(stored, str) else stored


def strict_json(value: Any) -> Any:
    """Return the value as JSON, like ``sanitized_json``, but never cut or stored as text.

    Raise TypeError for what has no JSON form, ValueError for what is too long.
    """
    try:
        text = json.dumps(json_compatible(value), cls=ExactJSONEncoder, allow_nan=False)
    except Exception as error:
        raise TypeError(f"{safe_repr(value)[:200]} has no JSON form: {error}") from error
    if len(text) > app_settings.MAX_STORED_LENGTH:
        raise ValueError(
            f"It has {len(text)} characters as JSON, more than MAX_STORED_LENGTH "
            f"({app_settings.MAX_STORED_LENGTH})."
        )
    return json.loads(text)


def json_compatible(value: Any) -> Any:
    """Return a value that the JSON type of every database accepts."""
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
            return {json_compatible(key): json_compatible(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [json_compatible(item) for item in value]
        case _:
            return value


def safe_str(value: Any) -> str:
    """Return the text of what a run has ended with, whatever its own ``__str__`` raises."""
    try:
        return str(value)
    except BaseException as error:  # noqa: BLE001 -- it must not change how the run ended
        return f"<{type(value).__name__} whose str() raised {type(error).__name__}>"


def safe_repr(value: Any) -> str:
    """Return the repr of a value, even if its own ``__repr__`` raises."""
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 -- a broken __repr__ must not fail the run
        return f"<{type(value).__name__} whose repr() raised {type(error).__name__}>"
