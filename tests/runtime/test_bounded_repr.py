"""A repr is written piece by piece, and ends where enough of it is known."""

from __future__ import annotations

from array import array
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import pytest

from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.runtime.bounded_repr import bounded_repr
from scheduled_tasks.runtime.sanitizing import redacted_json, shown_json
from scheduled_tasks.testing import run_handler


class Point(NamedTuple):
    x: int


class Names(list[str]):
    pass


class Kinds(set[str]):
    pass


class OwnText(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return OwnText("own")

    def __getitem__(self, part: Any) -> str:
        raise LookupError


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self) -> str:
        return "called"


class WithUnhashable:
    __repr__ = Unhashable()  # type: ignore[assignment]


class StrangeKind(type):
    def __getattribute__(cls, name: str) -> Any:
        if name == "__repr__":
            raise LookupError
        return super().__getattribute__(name)


class Strange(metaclass=StrangeKind):
    pass


class NamelessKind(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise LookupError


class Nameless(metaclass=NamelessKind):
    def __repr__(self) -> str:
        raise ZeroDivisionError


class NamelessList(list[int], metaclass=NamelessKind):
    pass


class Quitting:
    def __repr__(self) -> str:
        raise SystemExit


class Proxy:
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError("outside of a request")

    def __repr__(self) -> str:
        return "<proxy>"


class Borrowing:
    """Has the ``__repr__`` of a class that it is not derived from."""


def out_of_step() -> OrderedDict[str, int]:
    value = OrderedDict(a=1, b=2)
    dict.__delitem__(value, "a")
    return value


def borrowing(kind: type) -> Any:
    return type("Borrowing", (Borrowing,), {"__repr__": kind.__repr__})()


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 1, -1.5, 1j, "it's", b"\0'", bytearray(b"x"), array("i", [1, 2])),
        *([], [1, "a"], (), (1,), (1, 2), {}, {"a": {(1, 2): [None]}}),
        *(set(), {1}, frozenset(), frozenset([1]), Names("ab"), Kinds(), Kinds("a")),
        *(deque(), deque([1, 2]), {1: 2}.keys(), {1: 2}.values(), {1: 2}.items()),
        *(
            Point(1),
            datetime(2026, 1, 31, tzinfo=UTC),
            range(3),
            int,
            [[[]]],
            OwnText("x"),
            WithUnhashable(),
        ),
    ],
    ids=lambda _: "",
)
def test_a_short_repr_is_that_of_python(value: Any) -> None:
    assert bounded_repr(value, 1_000) == (repr(value), False)


def test_dictionaries_of_libraries_are_shown_with_their_names() -> None:
    assert bounded_repr(OrderedDict(a=1), 100)[0] == "OrderedDict({'a': 1})"
    assert bounded_repr(defaultdict(list, a=[1]), 100)[0] == "defaultdict({'a': [1]})"


@pytest.mark.parametrize(
    ("make", "shown"),
    [
        (out_of_step, "OrderedDict({, ...})"),
        (Nameless, "<Nameless whose repr() raised ZeroDivisionError>"),
        (lambda: NamelessList([1]), "[1]"),
        (Quitting, "<Quitting whose repr() raised SystemExit>"),
        (Proxy, "<proxy>"),
        *(
            (partial(borrowing, kind), "<Borrowing whose repr() raised TypeError>")
            for kind in (list, tuple, set, dict, OrderedDict, deque, str, bytes, array, int)
        ),
    ],
    ids=lambda _: "",
)
def test_a_broken_class_does_not_fail_its_run(make: Callable[[], Any], shown: str) -> None:
    assert bounded_repr(make(), 100) == (shown, False)
    assert redacted_json([1j, make()]) == f"[1j, {shown}]"
    assert shown_json({"a": [make()]}, limit=1_000)


@pytest.mark.parametrize("make", [out_of_step, Nameless, Quitting, Proxy], ids=lambda _: "")
def test_a_run_that_returns_a_broken_value_succeeds(
    registry: HandlerRegistry, make: Callable[[], Any]
) -> None:
    def work() -> Any:
        return {"sold": 1, "odd": make()}

    registry.register(work)
    assert run_handler(work).status == "success"


def test_what_holds_itself_has_an_end() -> None:
    value: dict[str, Any] = {"list": [deque([1])]}
    value["list"][0].append(value)
    assert bounded_repr(value, 100)[0] == "{'list': [deque([1, {...}])]}"
    for _ in range(10_000):
        value = {"deep": value}
    text, is_cut = bounded_repr(value, 10_000)
    assert not is_cut
    assert text.endswith("{...}" + "}" * 100)


def test_a_strange_class_is_asked_itself() -> None:
    text, _ = bounded_repr([1, Strange(), 2], 1_000)
    assert text.startswith("[1, <tests.runtime.test_bounded_repr.Strange object at")
    assert text.endswith(">, 2]")


@pytest.mark.parametrize("limit", range(12))
def test_no_more_is_returned_than_was_asked(limit: int) -> None:
    value = ["abc", b"def"]
    assert bounded_repr(value, limit) == (repr(value)[:limit], True)


def test_a_secret_at_the_cut_is_not_kept(settings: Any) -> None:
    settings.SCHEDULED_TASKS = {"MAX_STORED_LENGTH": 120}
    value = deque(["password=hunter2xyz", *["filler"] * 7, "token=0123456789", *["x" * 90] * 9])
    for length in range(60, 160):
        settings.SCHEDULED_TASKS = {"MAX_STORED_LENGTH": length}
        stored = redacted_json(value)
        assert "hunter" not in stored
        assert "0123" not in stored
        assert len(stored) <= length
