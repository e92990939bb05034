"""Makes whatever handlers produce storable.

``sanitized_…`` only makes a value storable; ``redacted_…`` also masks secrets in it, and is what
people may read. What is longer than is kept is cut first, and only then looked at.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from typing import Any

from scheduled_tasks.conf import app_settings
from scheduled_tasks.runtime.bounded_json import BoundedJson
from scheduled_tasks.runtime.bounded_repr import bounded_repr, class_name, own_text
from scheduled_tasks.runtime.redaction import (
    mask_secrets,
    mask_secrets_in_halves,
    mask_secrets_in_json,
)
from scheduled_tasks.runtime.wording import counted

logger = logging.getLogger(__name__)

#: At least this many characters at the beginning, and at the end, of a long text are searched for
#: secrets, however little of it is kept: a secret that reaches into what is kept begins there.
MIN_SEARCHED_LENGTH = 20_000
#: An unmasked word of up to this length is dropped where a text is cut: it may be part of a secret.
MAX_WORD_LENGTH = 4_000
LAST_WORD = re.compile(r"(?<=\s)\S++\Z")
FIRST_WORD = re.compile(rf"\S{{1,{MAX_WORD_LENGTH}}}+(?=\s)")
CUT = "\n… further characters cut …"

#: ``sanitized_text`` or ``redacted_text``.
Shorten = Callable[..., str]


def sanitized_text(text: str, *, limit: int | None = None) -> str:
    """Return the text without what databases refuse (NUL, lone surrogates), cut to ``limit``.

    ``limit`` counts characters and defaults to MAX_STORED_LENGTH. The cut is marked and removes
    the middle, because both the beginning and the end of a traceback matter.
    """
    text, limit = exact(text), limit or app_settings.MAX_STORED_LENGTH
    if len(text) <= limit:
        return without_refused(text)
    return without_refused(joined(text, text, limit=limit, length=len(text)))


def redacted_text(text: str, *, limit: int | None = None) -> str:
    """Return the text sanitized and with secrets masked.

    The middle of a very long text is dropped unread.
    """
    text, limit = exact(text), limit or app_settings.MAX_STORED_LENGTH
    searched = max(limit, MIN_SEARCHED_LENGTH)
    if len(text) <= 2 * searched:
        # Masked before it is cut: the cut may remove a name and leave its value.
        return sanitized_text(mask_secrets(text), limit=limit)
    return redacted_ends(text[:searched], text[-searched:], length=len(text), limit=limit)


def redacted_ends(first: str, last: str, *, length: int, limit: int) -> str:
    """Return the beginning and the end of a long text like ``redacted_text``."""
    # As one text, so that a secret that is cut in the middle ends in the second half.
    halves = mask_secrets_in_halves(first + last, len(first))
    return without_refused(
        joined(
            without_last_word(halves[0]),
            without_first_word(halves[1]),
            limit=limit,
            length=length,
        )
    )


def joined(first: str, second: str, *, limit: int, length: int) -> str:
    """Return the beginning of one text and the end of another, with a mark for what is cut."""
    mark = f"\n… {counted(length - limit, 'character')} cut …\n"
    half = max(limit - len(mark), 2) // 2
    return f"{first[:half]}{mark}{second[-half:]}"[:limit]


def without_last_word(text: str) -> str:
    """Return the text without its last word, unless that is a secret or very long."""
    word = LAST_WORD.search(text, max(len(text) - MAX_WORD_LENGTH, 0))
    return text[: word.start()] if word and not text.endswith("]") else text


def without_first_word(text: str) -> str:
    word = FIRST_WORD.match(text)
    return text[word.end() :] if word else text


def without_refused(text: str) -> str:
    """Return the text without NUL and lone surrogates; its length stays."""
    clean = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return clean if clean.isascii() else clean.encode("utf-8", "replace").decode("utf-8")


def exact(text: str) -> str:
    """Return a text as plain ``str``, whatever a class derived from it overrides."""
    return str.__str__(text)


def sanitized_json(value: Any) -> Any:
    """Return the value as JSON: dates, decimals and UUIDs become text.

    A value that has no JSON form, or is too long, is stored as text with a warning in the log, so
    that a result never fails its run.
    """
    return stored_json(value, text=sanitized_text, mask=lambda copy, *, cut: copy)


def redacted_json(value: Any) -> Any:
    """Return the value sanitized and with secrets masked."""
    return stored_json(value, text=redacted_text, mask=mask_secrets_in_json)


def stored_json(value: Any, *, text: Shorten, mask: Callable[..., Any]) -> Any:
    """Return a value as JSON that is masked; as ``text`` if it is one, or has to become one."""
    if value is None:  # what most handlers return
        return None
    limit = app_settings.MAX_STORED_LENGTH
    if issubclass(type(value), str):  # isinstance() asks the value, which may raise anything
        return text(value)
    copied = bounded(value, limit, text)
    if copied.flaw and not copied.cut:
        logger.warning("result stored as text because it has no JSON form: %s", copied.flaw)
        return text_without_json(value, text, limit)
    if copied.altered:
        logger.warning("result stored with a text in place of a number: %s", copied.altered)
    masked = mask(copied.copy, cut=copied.cut)
    as_text = json.dumps(masked, ensure_ascii=False)
    if copied.cut or len(as_text) > limit:
        logger.warning("result cut to %s characters", limit)
        return as_text[: max(limit - len(CUT), 0)] + CUT[:limit]
    return masked


def text_without_json(value: Any, text: Shorten, limit: int) -> str:
    shown, is_cut = bounded_repr(value, limit)
    if not is_cut:
        return text(shown)
    # The rest was never made, so a secret at the cut may have lost its end.
    begun = text(without_last_word(shown), limit=2 * limit)
    return begun[: max(limit - len(CUT), 0)] + CUT[:limit]


def bounded(value: Any, limit: int, text: Shorten, *, exact: bool = False) -> BoundedJson:
    """Return a copy of at most about ``limit`` characters. Long texts are cut by ``text``."""

    def clean(part: str, room: int) -> str:
        return without_refused(part) if len(part) <= room else text(part, limit=max(room, 1))

    return BoundedJson(value, limit, clean=clean, exact=exact)


def strict_json(value: Any) -> Any:
    """Return the value as JSON, like ``sanitized_json``, but never cut, altered or stored as text.

    Raise TypeError for what has no JSON form that is read back as it was, ValueError for what is
    too long.
    """
    limit = app_settings.MAX_STORED_LENGTH
    copied = bounded(value, limit, sanitized_text, exact=True)
    if why := copied.flaw or copied.altered:
        shown = class_name(value) if copied.cut else safe_repr(value, limit=200)
        raise TypeError(f"{shown} has no JSON form: {why}")
    if copied.cut or len(json.dumps(copied.copy, ensure_ascii=False)) > limit:
        raise ValueError(f"It has more characters as JSON than MAX_STORED_LENGTH ({limit}) allows.")
    return copied.copy


def shown_json(value: Any, *, limit: int) -> str:
    """Return JSON in indented lines for people to read: without secrets, and cut to ``limit``."""
    copied = bounded(value, limit, redacted_text)
    masked = mask_secrets_in_json(copied.copy, cut=copied.cut)
    lines = json.dumps(masked, ensure_ascii=False, indent=2)
    if not copied.cut and len(lines) <= limit:
        return lines
    return lines[: max(limit - len(CUT), 0)] + CUT


def json_compatible(value: Any) -> Any:
    """Return a value that the JSON type of every database accepts."""
    return BoundedJson(value, 10**12, clean=lambda text, room: without_refused(text)).copy


def safe_str(value: Any) -> str:
    """Return the text of what a run has ended with, whatever its own ``__str__`` raises."""
    return own_text(str, value)


def safe_repr(value: Any, *, limit: int = 1_000) -> str:
    """Return the beginning of the repr of a value, even if its own ``__repr__`` raises."""
    shown, is_cut = bounded_repr(value, limit)
    # The end of a secret may be what shows that it is one.
    return mask_secrets_in_halves(shown, len(shown))[0] if is_cut else shown
