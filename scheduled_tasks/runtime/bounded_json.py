"""Makes JSON of any value, and stops when there is more than is kept.

What a handler returns may be larger than its worker, or have no end. So it is sized while it is
copied, and nothing that is cut is ever looked at.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from enum import Enum
from typing import Any

from scheduled_tasks.runtime.bounded_repr import class_name, own_text
from scheduled_tasks.runtime.json_encoding import ExactJSONEncoder, in_order, plain_form

#: Containers below this many levels have no JSON form: not every database and parser takes them.
MAX_DEPTH = 100
#: The bits of an integer that Python converts to text under all its limits.
MAX_PLAIN_BITS = 1_000
NUMBER_ALTERED = "JSON has no number {}; use None or a text instead"
TEXT_ALTERED = "a text in it has NUL or a lone surrogate; replace these characters, or use bytes"

other_as_json = ExactJSONEncoder().default


class BoundedJson:
    """A copy of a value as JSON, of about ``budget`` characters.

    ``cut`` is whether there is more: then the copy ends with what was cut. ``flaw`` is why a part
    has no JSON form, "" if all have one; the copy then holds a text for that part. ``altered`` is
    why a part is another value in the copy, and what to do about it. ``clean`` is applied to texts.
    With ``exact``, for what a run reads back, bytes are Base64, in which secrets cannot be found,
    dataclasses have all their fields, and a text that ``clean`` changes is altered.
    """

    def __init__(
        self,
        value: Any,
        budget: int,
        *,
        clean: Callable[[str, int], str],
        exact: bool = False,
    ) -> None:
        self.clean = clean
        self.exact = exact
        # Any method of an odd class may raise anything. But a handler that stores a checkpoint goes
        # on, so it has to see that it is asked to stop.
        self._caught: type[BaseException] = Exception if exact else BaseException
        self.flaw = ""
        self.altered = ""
        self._left = budget
        self._open: set[int] = set()
        self.copy = self._copied(value, 0)

    @property
    def cut(self) -> bool:
        return self._left < 0

    def _copied(self, value: Any, depth: int) -> Any:
        """Return a part as JSON, whatever its class raises."""
        try:
            return self._matched(value, depth)
        except self._caught as error:
            return self._flawed(value, own_text(str, error))

    def _matched(self, value: Any, depth: int) -> Any:
        match value:
            case None | True | False:
                return self._spent(4, value)
            case Enum():
                return self._other(value, depth)
            case str():
                return self._text(value)
            case int():
                return self._integer(value)
            case float():
                return self._float(float(value))
            case list() | tuple() | set() | frozenset() | Mapping():
                return self._container(value, depth)
            case bytes() | bytearray() if self.exact:
                # More characters than there is room for, if there are, but not many more.
                return self._text(base64.b64encode(value[: max(self._left, 0) + 1]).decode())
        return self._other(value, depth)

    def _spent(self, length: int, value: Any) -> Any:
        self._left -= length
        return value

    def _text(self, value: str) -> str:
        text, room = str.__str__(value), max(self._left, 0)
        kept = str(self.clean(text, room))
        if self.exact and len(text) <= room and kept != text:
            self.altered = self.altered or TEXT_ALTERED
        # All of it is spent, however little of it is kept: nothing follows what was cut.
        self._spent(len(text) + 2, None)
        return kept

    def _float(self, number: float) -> Any:
        if math.isfinite(number):
            return self._spent(8, number)
        self.altered = self.altered or NUMBER_ALTERED.format(number)
        return self._spent(8, repr(number))

    def _integer(self, value: int) -> Any:
        number = int(value)
        if number.bit_length() <= MAX_PLAIN_BITS:
            return self._spent(1 + number.bit_length() // 4, number)
        return self._spent(len(repr(number)), number)

    def _container(self, value: Any, depth: int) -> Any:
        if id(value) in self._open:
            return self._flawed("[...]", "it contains itself")
        if depth >= MAX_DEPTH:
            return self._flawed("[...]", f"it is nested more than {MAX_DEPTH} levels deep")
        self._open.add(id(value))
        self._spent(2, None)
        try:
            return self._filled(value, depth + 1)
        except self._caught as error:
            return self._flawed("[...]", f"it raised {class_name(error)}")
        finally:
            self._open.discard(id(value))

    def _filled(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping):
            return self._object(value.items(), depth)
        items = [self._copied(item, depth) for item in self._affordable(value)]
        # What was cut stays the last.
        return in_order(items) if isinstance(value, (set, frozenset)) and not self.cut else items

    def _object(self, items: Iterable[tuple[Any, Any]], depth: int) -> dict[str, Any]:
        copy: dict[str, Any] = {}
        for key, item in self._affordable(items):
            name = self._key(key)
            if self.cut:
                break  # what is left of a key may not say that its value is a secret
            if name in copy:
                self.flaw = self.flaw or "two of its keys are the same text"
                del copy[name]  # what may be cut is the last
            copy[name] = self._copied(item, depth)
        return copy

    def _affordable(self, items: Iterable[Any]) -> Iterable[Any]:
        """Yield items while there is room for more."""
        for item in items:
            if self._left <= 0:
                self._left = -1
                return
            self._spent(2, None)
            yield item

    def _key(self, key: Any) -> str:
        if isinstance(key, str) and not isinstance(key, Enum):
            return self._text(key)
        if isinstance(key, (tuple, frozenset)) or is_dataclass(key):
            return str(self._flawed(key, f"it has a key of type {class_name(key)}"))
        copy = self._copied(key, 0)
        return copy if isinstance(copy, str) else json.dumps(copy)

    def _other(self, value: Any, depth: int) -> Any:
        """Return a member of an Enum, a path, a dataclass, a date, a lazy text as JSON."""
        if (form := plain_form(value, having="name" if self.exact else "repr")) is not value:
            return self._copied(form, depth)
        given = other_as_json(value)
        return self._copied(given, depth + 1) if depth < MAX_DEPTH else self._flawed("...", "")

    def _flawed(self, value: Any, why: str) -> Any:
        self.flaw = self.flaw or why or "it has no JSON form"
        return self._text(value if type(value) is str else class_name(value))
