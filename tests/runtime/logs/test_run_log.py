"""The log of one run: so many lines and no more, with a mark where it is cut."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
from django.test import override_settings

from scheduled_tasks.runtime.logs.run_log import LAST_LINES, RunLog, text_of_line
from tests.executors.runs import run_of
from tests.support.recorders import FakeRecorder

CUT = (
    "Log truncated: MAX_LOG_LINES keeps 5 lines per execution, and the last 100 of an attempt that "
    "ends by itself."
)


def logged(count: int, *, before: int = 0) -> list[str]:
    recorder = FakeRecorder()
    with override_settings(SCHEDULED_TASKS={"MAX_LOG_LINES": 5}):
        log = RunLog(replace(run_of(7), log_count=before), recorder)
        for number in range(count):
            log.add("shop", logging.INFO, str(number))
        log.close()
    return recorder.texts


def test_no_line_is_lost_while_there_is_room() -> None:
    assert logged(5) == ["0", "1", "2", "3", "4"]


def test_the_cut_is_marked_and_last_lines_kept() -> None:
    assert logged(7) == ["0", "1", "2", "3", "4", CUT, "5", "6"]
    texts = logged(1_000)
    assert texts[5:8] == [CUT, f"{1_000 - 5 - LAST_LINES} lines omitted.", "900"]
    assert texts[-1] == "999"
    assert len(texts) == 5 + 2 + LAST_LINES


@pytest.mark.parametrize("count", [3, 5, 6, 7, 105, 106, 107, 1_000])
@pytest.mark.parametrize("before", [0, 4, 5, 9])
def test_adding_many_lines_equals_adding_them_singly(count: int, before: int) -> None:
    recorder = FakeRecorder()
    with override_settings(SCHEDULED_TASKS={"MAX_LOG_LINES": 5}):
        log = RunLog(replace(run_of(7), log_count=before), recorder)
        log.add_all("stdout", logging.INFO, [str(number) for number in range(count)])
        log.close()
    assert recorder.texts == logged(count, before=before)
    assert all(line.unlogged for line in recorder.lines if line.logger == "stdout")


def test_lines_of_earlier_attempts_count() -> None:
    assert logged(3, before=4) == ["0", CUT, "1", "2"]
    assert logged(1, before=1_000) == [CUT, "0"]


def test_closing_a_log_twice_repeats_nothing() -> None:
    recorder = FakeRecorder()
    log = RunLog(replace(run_of(7), log_count=10_000), recorder)
    log.add("shop", logging.INFO, "last")
    log.close()
    log.close()
    assert recorder.texts[1:] == ["last"]


def test_a_refused_end_is_still_an_end() -> None:
    recorder = FakeRecorder()
    log = RunLog(replace(run_of(7), log_count=10_000), recorder)
    log.add("shop", logging.INFO, "last")
    recorder.refuses = True
    log.close()


@pytest.mark.parametrize("text", ["x" * 1_000_000, "\0" * 20_000, "\udc00" * 20_000])
def test_a_line_is_cut_with_a_mark(text: str) -> None:
    line = text_of_line(text)
    assert len(line) <= 10_000
    assert "characters cut" in line
