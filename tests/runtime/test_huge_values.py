"""What is huge, or has no end, is cut early: it costs little time, however much there is of it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from scheduled_tasks.runtime.failures import failure_of
from scheduled_tasks.runtime.logs.run_log import text_of_line
from scheduled_tasks.runtime.sanitizing import redacted_json, shown_json, strict_json

#: CPU seconds that a loaded machine may take for what takes a few hundredths.
MAX_SECONDS = 2.0


class LongRepr:
    def __repr__(self) -> str:
        return "x" * 1_000_000


class EndlessDict(dict[str, str]):
    def items(self) -> Any:
        while True:
            yield "key", "value"


class EndlessList(list[str]):
    def __iter__(self) -> Iterator[str]:
        while True:
            yield "value"


def doubled(levels: int) -> list[Any]:
    """Return a list of lists that shows each of them twice as often as the one around it."""
    value: list[Any] = []
    for _ in range(levels):
        value = [value, value]
    return value


HUGE: dict[str, Callable[[], Any]] = {
    "many keys": lambda: {str(number): number for number in range(500_000)},
    "a long text": lambda: "password=x " * 10_000_000,
    "long texts": lambda: ["x" * 10_000_000] * 100,
    "many flaws": lambda: [object()] * 500_000,
    "many bytes": lambda: b"x" * 200_000_000,
    "many changeable bytes": lambda: [bytearray(100_000_000)],
    "a long queue": lambda: deque(range(1_000_000)),
    "many keys without their values": dict.fromkeys(range(1_000_000)).keys,
    "long reprs": lambda: deque([LongRepr()] * 1_000),
    "a key of many items": lambda: {(1j, *range(1_000_000)): 1},
    "endless keys": lambda: EndlessDict(a="b"),
    "endless items": EndlessList,
    "each list twice": lambda: doubled(60),
}


@pytest.mark.parametrize("name", HUGE)
def test_a_huge_result_is_cut_early(name: str) -> None:
    value = HUGE[name]()
    begun = time.process_time()
    stored = redacted_json(value)
    shown = shown_json(value, limit=1_000)
    assert time.process_time() - begun < MAX_SECONDS
    assert isinstance(stored, str)
    assert len(stored) <= 100_000
    assert "characters cut" in stored
    assert len(shown) <= 1_000


def test_a_huge_checkpoint_is_refused_early() -> None:
    begun = time.process_time()
    with pytest.raises(ValueError, match="MAX_STORED_LENGTH"):
        strict_json(HUGE["many keys"]())
    assert time.process_time() - begun < MAX_SECONDS


def chained(count: int) -> Exception:
    error = ValueError("the first")
    for number in range(count):
        later = ValueError(number)
        later.__cause__, error = error, later
    return error


def nested(levels: int) -> Exception:
    error: Exception = ValueError("innermost")
    for _ in range(levels):
        error = ExceptionGroup("many", [error] * 20)
    return error


@pytest.mark.parametrize(
    ("make", "shown"),
    [
        (lambda: ValueError("x" * 100_000_000), "characters cut"),
        (lambda: chained(100_000), "99981 exceptions in between not shown"),
        (lambda: nested(30), "and 19 more"),
        (lambda: ExceptionGroup("many", [ValueError("y" * 10_000)] * 10_000), "and 9985 more"),
    ],
    ids=["message", "chain", "groups", "group"],
)
def test_a_huge_exception_is_cut_early(make: Callable[[], Exception], shown: str) -> None:
    error = make()
    begun = time.process_time()
    fields = failure_of(error, caller="somewhere.else")
    assert time.process_time() - begun < MAX_SECONDS
    assert shown in fields["traceback"]
    assert len(fields["traceback"]) <= 100_000
    assert len(fields["error"]) <= 2_000


def test_a_long_line_costs_little() -> None:
    lines = ['{"user": "ann", "rows": 15}, ' * 35_000, "password=" + "(" * 1_000_000]
    begun = time.process_time()
    for line in lines:
        assert len(text_of_line(line)) <= 10_000
    assert time.process_time() - begun < MAX_SECONDS
