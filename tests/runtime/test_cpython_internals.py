"""What we use of CPython that it does not document, by version of Python."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from dataclasses import dataclass

import pytest

from scheduled_tasks.exceptions import RunInterrupted
from scheduled_tasks.runtime.cpython_internals import (
    discard_raised,
    interpreter_flags,
    is_generated,
    raise_in,
)

#: Before you add one, read PyThreadState_SetAsyncExc, subprocess._args_from_interpreter_flags and
#: how dataclasses calls exec().
VERSIONS = [(3, 11), (3, 12), (3, 13)]


def test_python_is_a_version_whose_internals_were_read() -> None:
    assert sys.version_info[:2] in VERSIONS


def test_an_exception_is_raised_in_a_thread() -> None:
    def interrupt() -> None:
        raise_in(threading.get_ident(), RunInterrupted)
        while True:
            pass

    with pytest.raises(RunInterrupted):
        interrupt()


def test_an_exception_not_yet_raised_is_discarded() -> None:
    raised = []

    def run() -> None:
        with suppress(RunInterrupted):
            raise_in(threading.get_ident(), RunInterrupted)
        try:
            discard_raised()
            sum(range(1_000))
        except RunInterrupted as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert raised == []


def test_flags_of_the_interpreter_are_passed_on() -> None:
    assert all(flag.startswith("-") for flag in interpreter_flags())


def test_dataclasses_compile_their_methods_from_text() -> None:
    @dataclass(frozen=True)
    class Made:
        x: int

    class Written:
        def __hash__(self) -> int:
            return 1

    assert is_generated(Made.__hash__)
    assert not any(map(is_generated, [Written.__hash__, object.__hash__, tuple.__hash__, None]))
