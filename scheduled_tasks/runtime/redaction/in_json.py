"""Masks secrets in JSON: below secret names, and in texts and keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from scheduled_tasks.conf import app_settings
from scheduled_tasks.runtime.redaction.names import DIRECTORIES, Kind, secret_names
from scheduled_tasks.runtime.redaction.scan import NAMING_FIELDS, VALUE_FIELDS, mask_secrets
from scheduled_tasks.runtime.redaction.values import MARK

#: What lies deeper is masked as a whole.
MAX_DEPTH = 150
#: What a list of headers or parameters consists of.
PAIR = ("name", "value")
EMPTY: tuple[Any, ...] = ("", b"", [], (), {})


def mask_secrets_in_json(value: Any, *, depth: int = MAX_DEPTH, cut: bool = False) -> Any:
    """Return a JSON value with what secret names hold masked, and secrets in its texts.

    Tuples become lists, and bytes become texts. If the end of the value is ``cut``, what may have
    been named there is masked, too.
    """
    if depth < 0:
        return MARK
    match value:
        case str():
            return mask_secrets(value)
        case bytes():
            return mask_secrets(repr(value))
        case dict():
            return masked_dict(value, depth - 1, cut=cut)
        case list() | tuple():
            return masked_list(value, depth - 1, cut=cut)
    return value


def masked_dict(values: Mapping[Any, Any], depth: int, *, cut: bool) -> dict[Any, Any]:
    masked: dict[Any, Any] = {}
    names = [name for key, name in values.items() if is_one_of(NAMING_FIELDS, key)]
    named = cut or any(map(is_secret, names))
    for number, (key, item) in enumerate(values.items(), 1):
        value_of_name = named and item is not None and is_one_of(VALUE_FIELDS, key)
        secret = value_of_name or holds_secret(key, item)
        shown = mask_secrets(key) if isinstance(key, str) else key
        while shown in masked:
            shown = f"{shown} ({number})"
        ends = cut and number == len(values)
        masked[shown] = MARK if secret else mask_secrets_in_json(item, depth=depth, cut=ends)
    return masked


def is_one_of(fields: frozenset[str], key: Any) -> bool:
    return isinstance(key, str) and key.lower() in fields


def masked_list(values: Iterable[Any], depth: int, *, cut: bool) -> list[Any]:
    """Return a list masked, with the values of options: ``["--password", "x"]``."""
    masked: list[Any] = []
    after_option = False
    items = list(values)
    for number, item in enumerate(items, 1):
        if is_pair(item) and holds_secret(item[0], item[1]):
            masked.append([item[0], MARK])
        elif after_option and isinstance(item, str) and not item.startswith("-"):
            masked.append(MARK)
        else:
            ends = cut and number == len(items)
            masked.append(mask_secrets_in_json(item, depth=depth, cut=ends))
        after_option = isinstance(item, str) and item.startswith("-") and is_secret(item)
    return masked


def is_pair(item: Any) -> bool:
    return isinstance(item, (list, tuple)) and len(item) == len(PAIR)


def holds_secret(name: Any, value: Any) -> bool:
    """Whether a value is a secret by its name. Nothing, a switch and a count are none."""
    if value is None or isinstance(value, bool) or value in EMPTY:
        return False
    if str(name) in DIRECTORIES and str(value).startswith("/"):
        return False
    kind = secret_names(app_settings.REDACT).kind_of(str(name))
    count = kind is Kind.PLURAL and isinstance(value, (int, float))
    return kind is not Kind.PUBLIC and not count


def is_secret(name: Any) -> bool:
    return isinstance(name, str) and (
        secret_names(app_settings.REDACT).kind_of(name) is not Kind.PUBLIC
    )
