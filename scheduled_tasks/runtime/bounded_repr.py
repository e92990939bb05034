"""Makes the repr of any value, and stops when there is more than is kept.

``repr`` makes the text of a container whole before it can be cut, with the texts of all its items.
So the containers and texts of Python are written here, piece by piece. What any other class says of
itself can only be asked for as a whole.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from types import WrapperDescriptorType
from typing import Any

#: Containers below this many levels are not shown.
MAX_DEPTH = 100
#: Python refuses to write integers of more than 4300 digits, and takes long for those it writes.
MAX_BITS_OF_INTEGER = 14_000

#: Iterates over a container by its base class, whatever a class derived from it overrides.
Iterate = Callable[[Any], Iterable[Any]]


class Pieces:
    """Yields the repr of a value in pieces, none of them much longer than ``limit``."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._open: set[int] = set()

    def of(self, value: Any, depth: int = 0) -> Iterator[str]:
        kind = kind_of(value)
        if kind in TEXTS:
            yield repr(TEXTS[kind](value, slice(self.limit)))
        elif kind is int.__repr__ and int.bit_length(value) > MAX_BITS_OF_INTEGER:
            yield f"<{class_name(value)} of {int.bit_length(value)} bits>"
        elif kind in CONTAINERS:
            yield from self._of_container(value, kind, depth)
        else:
            yield str.__getitem__(own_text(repr, value), slice(self.limit + 1))

    def _of_container(self, value: Any, kind: Any, depth: int) -> Iterator[str]:
        begin, end, iterate = CONTAINERS[kind]
        if kind in SETS and not kind.__objclass__.__len__(value):
            begin, end = "", ""
        if kind not in UNNAMED and (type(value) is not set or not begin):
            begin, end = f"{class_name(value)}({begin}", f"{end})"
        if id(value) in self._open or depth >= MAX_DEPTH:
            yield f"{begin}...{end}"
            return
        self._open.add(id(value))
        yield begin
        try:
            for number, item in enumerate(iterate(value)):
                yield ", " if number else ""
                yield from self._of_item(item, depth + 1, is_pair=kind in OBJECTS)
        except Exception:  # noqa: BLE001 -- it may be changed meanwhile, or be out of step
            yield ", ..."
        self._open.discard(id(value))
        yield f",{end}" if kind is tuple.__repr__ and tuple.__len__(value) == 1 else end

    def _of_item(self, item: Any, depth: int, *, is_pair: bool) -> Iterator[str]:
        if not is_pair:
            yield from self.of(item, depth)
            return
        key, value = item
        yield from self.of(key, depth)
        yield ": "
        yield from self.of(value, depth)


def bounded_repr(value: Any, limit: int) -> tuple[str, bool]:
    """Return the first ``limit`` characters of the repr of a value, and whether there are more.

    A deque is shown without its ``maxlen``, a defaultdict without its factory, and an OrderedDict
    like a dictionary. It raises nothing: what an own ``__repr__`` raises is said in the text.
    """
    parts, left = [], limit
    for piece in Pieces(limit).of(value):
        parts.append(piece)
        left -= len(piece)
        if left < 0:
            break
    text = "".join(parts)
    return text[:limit], len(text) > limit


def kind_of(value: Any) -> Any:
    """Return the function of its builtin class that writes the repr of a value, if one does."""
    try:
        function = type(value).__repr__
    except BaseException:  # noqa: BLE001 -- a metaclass may raise anything
        return None
    # A class may have borrowed the function of one that it is not derived from.
    is_own = type(function) is WrapperDescriptorType and issubclass(
        type(value), function.__objclass__
    )
    return function if is_own else None


def own_text(write: Callable[[Any], str], value: Any) -> str:
    """Return ``str()`` or ``repr()`` of a value, whatever that raises."""
    try:
        return write(value)
    except BaseException as error:  # noqa: BLE001 -- it must not change how the run ended
        return f"<{class_name(value)} whose {write.__name__}() raised {class_name(error)}>"


def class_name(value: Any) -> str:
    """Return the name of the class of a value, whatever its metaclass says."""
    return str(type.__dict__["__name__"].__get__(type(value)))


TEXTS: dict[Any, Callable[[Any, slice], Any]] = {
    str.__repr__: str.__getitem__,
    bytes.__repr__: bytes.__getitem__,
    bytearray.__repr__: bytearray.__getitem__,
    array.__repr__: array.__getitem__,
}
#: How they begin and end, and their items.
LISTS: dict[Any, tuple[str, str, Iterate]] = {
    list.__repr__: ("[", "]", list.__iter__),
    tuple.__repr__: ("(", ")", tuple.__iter__),
    set.__repr__: ("{", "}", set.__iter__),
    frozenset.__repr__: ("{", "}", frozenset.__iter__),
    deque.__repr__: ("[", "]", deque.__iter__),
    type({}.keys()).__repr__: ("[", "]", iter),
    type({}.values()).__repr__: ("[", "]", iter),
    type({}.items()).__repr__: ("[", "]", iter),
}
#: The same of those whose items are pairs.
OBJECTS: dict[Any, tuple[str, str, Iterate]] = {
    dict.__repr__: ("{", "}", dict.items),
    defaultdict.__repr__: ("{", "}", dict.items),
    OrderedDict.__repr__: ("{", "}", OrderedDict.items),
}
CONTAINERS = LISTS | OBJECTS
SETS = {set.__repr__, frozenset.__repr__}
#: Those that are shown without the name of their class.
UNNAMED = {list.__repr__, tuple.__repr__, dict.__repr__}
