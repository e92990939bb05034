"""Exceptions as broken as any object may be become words that can be stored."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from scheduled_tasks.exceptions import (
    LockLost,
    LockTimeout,
    PermanentError,
    RetryLater,
    UnknownTask,
)
from scheduled_tasks.runtime.failures import failure_of
from scheduled_tasks.runtime.sanitizing import safe_repr


def fields_of(error: BaseException) -> dict[str, Any]:
    """Raise an error and return what is stored of it, having checked that it can be."""
    try:
        raise error  # noqa: TRY301
    except BaseException as caught:  # noqa: BLE001
        fields = failure_of(caught, caller="somewhere.else")
    for text in fields.values():
        assert "\0" not in text
        text.encode()
    assert fields["status"] == "failed"
    assert fields["error"]
    assert len(fields["error"]) <= 2000
    assert fields["traceback"]
    assert len(fields["traceback"]) <= 100_000
    assert len(fields["error_fingerprint"]) == 32
    return fields


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError

    __repr__ = __str__


class Fatal(Exception):
    def __str__(self) -> str:
        raise SystemExit(1)


class Endless(Exception):
    def __str__(self) -> str:
        return str(self)


class Nameless(Exception):
    pass


Nameless.__module__ = 5  # type: ignore[assignment]


class Syntax(SyntaxError):
    text = 5  # type: ignore[assignment]


class Lone(Exception):
    pass


Lone.__qualname__ = "Lo\udc80ne"


@pytest.mark.parametrize(
    "error",
    [
        Unprintable(),
        Fatal(),
        Endless(),
        Nameless("x"),
        Syntax("x"),
        Lone("x"),
        ValueError("a\0b\ud800"),
        ValueError("x" * 10_000_000),
        ValueError(b"\xff", object(), {1: ...}),
        UnicodeDecodeError("utf-8", b"\xff" * 10, 0, 1, "bad"),
        ExceptionGroup("many", [ValueError(number) for number in range(1000)]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_badly_broken_exception_is_stored(error: Exception) -> None:
    assert fields_of(error)["error_category"] in ("logic", "permanent")


def test_broken_notes_and_circular_causes_are_stored() -> None:
    error, other = ValueError("x"), KeyError("y")
    error.__notes__ = 5  # type: ignore[assignment]
    error.__cause__, other.__cause__ = other, error
    assert "KeyError" in fields_of(error)["traceback"]


class Endless(list[Any]):
    """A list with a method for everything that never ends."""

    def __getitem__(self, index: Any) -> Any:
        """Return itself, however little is asked for."""
        return self

    def __iter__(self) -> Iterator[Any]:
        """Begin, and never end."""
        return itertools.repeat("endless")


def test_notes_that_never_end_are_cut() -> None:
    error = ValueError("x")
    error.__notes__ = Endless(["first", "second"])
    assert fields_of(error)["error"] == "ValueError: x\nfirst\nsecond"


def test_notes_are_shown_as_they_are() -> None:
    class Unsayable:
        def __str__(self) -> str:
            raise SystemExit

    error = ValueError("x")
    error.__notes__ = ("one", Unsayable(), 3)  # type: ignore[assignment]
    shown = "\none\n<Unsayable whose str() raised SystemExit>\n3"
    assert fields_of(error)["error"] == f"ValueError: x{shown}"


def test_a_group_that_never_ends_shows_its_own() -> None:
    class Group(ExceptionGroup[Exception]):
        exceptions = Endless()  # type: ignore[assignment]

    assert "| KeyError: 1" in fields_of(Group("x", [KeyError(1)]))["traceback"]


@pytest.mark.parametrize("delay", ["5 minutes", None, b"1", []])
def test_a_delay_of_a_wrong_kind_is_refused(delay: Any) -> None:
    with pytest.raises(ValueError, match="RetryLater takes seconds or a timedelta, not"):
        RetryLater(delay)


@pytest.mark.parametrize(
    ("error", "category"),
    [
        (LockTimeout("held"), "timeout"),
        (LockLost("not renewed"), "logic"),
        (RetryLater(60), "logic"),
        (UnknownTask("gone"), "permanent"),
        (PermanentError("never"), "permanent"),
    ],
)
def test_errors_of_the_app_have_categories(error: Exception, category: str) -> None:
    assert fields_of(error)["error_category"] == category


@pytest.mark.parametrize("room", range(-40, 0, 3))
def test_no_cut_shows_a_password_in_an_address(room: int) -> None:
    url = "postgres://shop:hunter2xyz@db.example.com/shop"
    source = "x" * (2_000 + room) + f" {url}" + "y" * 5_000
    for error in (
        SyntaxError("invalid", ("shop.py", 1, 1, source)),
        TypeError(f"not {safe_repr('x' * (100 + room) + ' ' + url, limit=100)}."),
    ):
        assert "hunt" not in failure_of(error, caller="")["traceback"]
