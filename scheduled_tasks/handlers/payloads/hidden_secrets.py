"""Secrets in forms: shown as masks, and kept where the mask is left as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import takewhile
from typing import Any

from scheduled_tasks.exceptions import InvalidPayload
from scheduled_tasks.runtime.redaction import MARK, mask_secrets_in_json

REFUSED = "is not accepted. Its value is not shown here because of its name."
MOVED = (
    "A masked value stays what it is only next to its name: enter the value again, or undo what "
    "you have changed beside it."
)


#: Keys as they are shown, with the keys and values that are stored, and the values that are shown.
Originals = dict[str, tuple[str, Any, Any]]


def masked_text(value: Any) -> str:
    """Return a stored value as the text of a form field, without secrets."""
    shown = mask_secrets_in_json(value)
    return shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)


def has_secrets(name: str, value: Any) -> bool:
    return bool(mask_secrets_in_json({name: value}) != {name: value})


def unmasked(payload: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return a payload from a form with the stored secrets wherever it holds their masks.

    Raise InvalidPayload, by argument, if it is not certain which secret a mask stands for, or if
    the secret would be shown then, because what marks it has changed.
    """
    originals = originals_of(stored, mask_secrets_in_json(dict(stored)))
    given: dict[str, Any] = {}
    for name, value in payload.items():
        with suppress(MovedMask):
            given.update([restored_item(name, value, originals)])
    expected, shown = mask_secrets_in_json(dict(payload)), mask_secrets_in_json(given)
    if moved := [name for name in expected if expected[name] != shown.get(name)]:
        raise InvalidPayload({name: [MOVED] for name in moved})
    return given


class MovedMask(Exception):
    """A mask stands where nothing stored was shown as this mask."""


def restored(value: Any, stored: Any = None, shown: Any = None) -> Any:
    """Return a value with what is stored in place of what was shown, or raise MovedMask."""
    match value:
        case str() if value == shown:
            return stored
        # A stored text may hold a mark itself; if it hides nothing else, it can be edited.
        case str() if MARK in value and not (stored == shown and MARK in str(stored)):
            raise MovedMask
        case dict():
            originals = originals_of(stored, shown) if isinstance(shown, dict) else {}
            return dict(restored_item(key, item, originals) for key, item in value.items())
        case list() if isinstance(shown, list):
            return [restored(*each) for each in aligned(value, stored, shown)]
        case list():
            return [restored(item) for item in value]
    return value


def originals_of(stored: Mapping[str, Any], shown: Mapping[str, Any]) -> Originals:
    """Return what is stored by the keys that are shown, which may be masked, too."""
    return {key: (own, stored[own], shown[key]) for key, own in zip(shown, stored, strict=True)}


def restored_item(key: str, item: Any, originals: Originals) -> tuple[str, Any]:
    if key in originals:
        own, stored, shown = originals[key]
        return own, restored(item, stored, shown)
    return restored(key), restored(item)


def aligned(value: list[Any], stored: list[Any], shown: list[Any]) -> Iterator[tuple[Any, ...]]:
    """Yield the items of a list, each with what is stored and was shown, where this is certain.

    It is before the first and after the last change, and where a single item has changed.
    """
    originals = list(zip(stored, shown, strict=True))
    front, back = count_of_equal(value, shown), count_of_equal(value[::-1], shown[::-1])
    if len(value) == len(shown) == front + 1 + back:
        front = len(value)
    for number, item in enumerate(value):
        to_end = len(value) - number
        before = originals[number] if number < front else None
        after = originals[-to_end] if to_end <= back else None
        if before is None or after is None or before == after:
            yield item, *(before or after or ())
        else:
            # Items that look alike are fewer now, and any of them may have been removed.
            yield (item,)


def count_of_equal(value: list[Any], shown: list[Any]) -> int:
    """Return how many items are the same at the beginning of both lists."""
    pairs = zip(value, shown, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
