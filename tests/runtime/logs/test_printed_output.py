"""What runs print: lines of their log, and nobody else's."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduled_tasks.runtime.logs.capture import logged_to
from scheduled_tasks.runtime.logs.line_splitter import MAX_LINE_LENGTH, LineSplitter
from scheduled_tasks.runtime.logs.printed_output import RunStream, printed_to
from scheduled_tasks.runtime.logs.run_log import RunLog
from tests.executors.runs import run_of
from tests.support.recorders import FakeRecorder


@contextmanager
def printing(recorder: FakeRecorder, *, alone: bool = False) -> Iterator[None]:
    log = RunLog(run_of(7), recorder)
    with logged_to(log, alone=alone), printed_to(log):
        yield


def test_printed_lines_are_logged_and_shown_nowhere_else(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    recorder = FakeRecorder()
    with printing(recorder):
        print("one\ntwo", 2)
        print("to err", file=sys.stderr)
        print("without an end", end="", flush=True)
        sys.stdout.writelines([", still\n", "last"])
    print("after")
    lines = [(line.logger, line.level, line.message) for line in recorder.lines]
    assert lines == [
        ("stdout", logging.INFO, "one"),
        ("stdout", logging.INFO, "two 2"),
        ("stderr", logging.WARNING, "to err"),
        ("stdout", logging.INFO, "without an end, still"),
        ("stdout", logging.INFO, "last"),
    ]
    assert capsys.readouterr() == ("after\n", "")
    assert "two 2" in caplog.messages


def test_output_outside_a_run_is_printed_as_usual(capsys: pytest.CaptureFixture[str]) -> None:
    recorder = FakeRecorder()
    with printing(recorder):
        thread = threading.Thread(target=print, args=("somebody else's",))
        thread.start()
        thread.join()
    assert recorder.texts == []
    assert capsys.readouterr().out == "somebody else's\n"


def test_a_logging_handler_that_prints_repeats_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Printer(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            print("printed:", record.getMessage())

    logger, printer, recorder = logging.getLogger(), Printer(), FakeRecorder()
    logger.addHandler(printer)
    try:
        with printing(recorder):
            logger.warning("logged")
            print("said")
    finally:
        logger.removeHandler(printer)
    assert recorder.texts == ["logged", "said"]
    assert capsys.readouterr().out == "printed: logged\nprinted: said\n"


def test_the_streams_are_restored_after_the_last_run() -> None:
    before = sys.stdout, sys.stderr
    with printing(FakeRecorder()):
        with printing(FakeRecorder()):
            assert isinstance(sys.stdout, RunStream)
            assert sys.stdout.encoding == before[0].encoding
        assert isinstance(sys.stdout, RunStream)
        assert sys.stdout.stream is before[0]
    assert (sys.stdout, sys.stderr) == before


def test_a_run_may_redirect_what_it_prints() -> None:
    recorder, caught = FakeRecorder(), StringIO()
    with printing(recorder):
        with redirect_stdout(caught):
            print("caught")
        print("logged")
    assert (caught.getvalue(), recorder.texts) == ("caught\n", ["logged"])


def test_lines_are_what_a_terminal_finally_shows() -> None:
    lines = LineSplitter()
    assert lines.feed("one\r\ntw") == ["one"]
    assert lines.feed("o\n\n   \nthree\n") == ["two", "three"]
    assert lines.feed("\r10 %\r20 %") == []
    assert lines.feed("\r100 %\nnext") == ["100 %"]
    assert lines.feed("50 %\r100 %\r") == []
    assert lines.feed("\n") == ["100 %"]
    assert lines.flush() == []
    lines.feed("rest")
    assert lines.flush() == ["rest"]


@given(st.lists(st.text(alphabet="ab\r\n "), max_size=12))
def test_lines_do_not_depend_on_chunk_boundaries(pieces: list[str]) -> None:
    whole, cut = LineSplitter(), LineSplitter()
    at_once = whole.feed("".join(pieces)) + whole.flush()
    assert [line for piece in pieces for line in cut.feed(piece)] + cut.flush() == at_once


def test_a_line_that_never_ends_is_cut_off() -> None:
    lines = LineSplitter()
    pieces = [lines.feed("x" * 100_000) for _ in range(25)]
    whole = [line for piece in pieces for line in piece]
    assert len(whole) == 2
    assert all(MAX_LINE_LENGTH <= len(line) < 2 * MAX_LINE_LENGTH for line in whole)
