"""What a run logs: caught once, whoever logs it, and passed on to the project's own logging."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

import pytest

from scheduled_tasks.exceptions import LeaseLost
from scheduled_tasks.runtime.context import TaskContext
from scheduled_tasks.runtime.logs.capture import LogCapture, log_for_run, logged_to
from scheduled_tasks.runtime.logs.current_run import leave_run
from scheduled_tasks.runtime.logs.labels import RunFilter
from scheduled_tasks.runtime.logs.printed_output import printed_to
from scheduled_tasks.runtime.logs.run_log import RunLog
from scheduled_tasks.runtime.messages import LogLine
from scheduled_tasks.runtime.validation import MAX_LEVEL
from scheduled_tasks.worker.announcements import announce_start
from tests.executors.runs import NOW, run_of
from tests.runtime.test_context import context_of
from tests.support.recorders import FakeRecorder


@pytest.fixture
def recorder() -> FakeRecorder:
    return FakeRecorder()


@pytest.fixture
def context(recorder: FakeRecorder) -> TaskContext:
    return context_of(recorder=recorder)


@pytest.fixture
def shop() -> Iterator[logging.Logger]:
    """Return a logger of the project's, which logs from INFO up."""
    logger = logging.getLogger("shop.orders")
    logger.setLevel(logging.INFO)
    yield logger
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


@contextmanager
def captured(recorder: FakeRecorder, *, alone: bool = False) -> Iterator[RunLog]:
    log = RunLog(run_of(7), recorder)
    with logged_to(log, alone=alone):
        yield log


def test_lines_are_caught_once_and_logged_as_ever(
    context: TaskContext,
    recorder: FakeRecorder,
    shop: logging.Logger,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with captured(recorder):
        context.logger.info("one of %s", 4)
        context.logger.debug("not from DEBUG")
        shop.warning("from elsewhere")
        shop.debug("nor here")
        try:
            raise ZeroDivisionError  # noqa: TRY301
        except ZeroDivisionError:
            context.logger.exception("it failed")
    context.logger.info("after the run")
    first, second, third = recorder.lines
    assert (first.level, first.message) == (logging.INFO, "one of 4")
    assert first.logger == "scheduled_tasks.run.one"
    assert first.logged_at.utcoffset() is not None
    assert (second.level, second.logger) == (logging.WARNING, "shop.orders")
    assert third.message.startswith("it failed\nTraceback")
    assert third.message.endswith("ZeroDivisionError")
    assert "one of 4" in caplog.messages
    assert not any(line.unlogged for line in recorder.lines)


def test_only_our_own_loggers_are_captured_without_propagation(
    context: TaskContext,
    recorder: FakeRecorder,
    shop: logging.Logger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop.propagate = False
    monkeypatch.setattr(logging.getLogger("scheduled_tasks"), "propagate", False)
    with captured(recorder):
        shop.error("to its own handlers only")
        context.logger.info("caught")
    assert recorder.texts == ["caught"]


def test_lines_of_simultaneous_runs_are_kept_apart(context: TaskContext) -> None:
    outer, inner = FakeRecorder(), FakeRecorder()
    with captured(outer):
        with captured(inner):
            context.logger.info("inner")
        context.logger.info("outer")
    assert (inner.texts, outer.texts) == (["inner"], ["outer"])


def in_thread(function: object) -> None:
    thread = threading.Thread(target=function)  # type: ignore[arg-type]
    thread.start()
    thread.join()


def test_a_thread_needs_the_runs_context(context: TaskContext, recorder: FakeRecorder) -> None:
    with captured(recorder):
        in_thread(lambda: context.logger.info("somebody's"))
        inside = copy_context()
        in_thread(lambda: inside.run(context.logger.info, "the run's"))
    assert recorder.texts == ["the run's"]


def test_a_run_alone_in_its_process_owns_threads(
    context: TaskContext, recorder: FakeRecorder
) -> None:
    with captured(recorder, alone=True):
        in_thread(lambda: context.logger.info("of a thread"))
    in_thread(lambda: context.logger.info("later"))
    assert recorder.texts == ["of a thread"]


def test_leaving_the_run_leaves_its_log(context: TaskContext, recorder: FakeRecorder) -> None:
    with captured(recorder, alone=True):
        inside = copy_context()
        inside.run(leave_run)
        inside.run(context.logger.info, "left")
    assert recorder.texts == []


def test_a_line_that_cannot_be_formatted_is_kept(
    context: TaskContext, recorder: FakeRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mute:
        def __str__(self) -> str:
            raise ValueError("no words")

        __repr__ = __str__

    # pytest's own handlers raise what other handlers print.
    monkeypatch.setattr(logging.getLogger("scheduled_tasks"), "propagate", False)
    with captured(recorder):
        context.logger.info("%d pages", "x")
        context.logger.info("%s", Mute())
        context.logger.info("nul \0 and \udcff")
    first, second, third = recorder.texts
    assert first == "'%d pages' ('x',) [could not be formatted: TypeError]"
    assert (
        second
        == "'%s' (<Mute whose repr() raised ValueError>,) [could not be formatted: ValueError]"
    )
    assert third == "nul \N{REPLACEMENT CHARACTER} and ?"


@pytest.mark.parametrize(
    ("name", "level", "stored"),
    [
        (None, 30, ("None", 30)),
        (5, 30, ("5", 30)),
        ("shop", 30.5, ("shop", 30)),
        ("shop", math.inf, ("shop", MAX_LEVEL)),
    ],
    ids=repr,
)
def test_records_of_any_name_and_level_are_kept(
    recorder: FakeRecorder, name: Any, level: Any, stored: tuple[str, int]
) -> None:
    record = logging.makeLogRecord({"name": name, "levelno": level, "msg": "imported"})
    with captured(recorder):
        logging.getLogger().handle(record)
    [line] = recorder.lines
    assert (line.logger, line.level, line.message) == (*stored, "imported")


def test_a_secret_in_the_name_is_masked(recorder: FakeRecorder) -> None:
    with captured(recorder):
        logging.getLogger("password=hunter2xyz").warning("x")
    assert recorder.lines[0].logger == "password=[redacted]"


def test_logging_raises_only_what_stops_the_run(
    context: TaskContext, recorder: FakeRecorder
) -> None:
    recorder.refuses = True
    with captured(recorder), pytest.raises(LeaseLost):
        context.logger.info("x")


def test_extras_are_kept_beside_those_of_the_run(
    context: TaskContext, recorder: FakeRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    with captured(recorder):
        context.logger.info("sent", extra={"customer": 7, "task": "another"})
    [record] = caplog.records
    assert (record.customer, record.task) == (7, "one")  # type: ignore[attr-defined]
    ours = {"task", "execution", "attempt", "run", "customer"}
    usual = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}
    assert set(record.__dict__) - usual == ours, "nothing else comes to the handlers of a project"


def test_a_broken_project_handler_fails_no_run(
    recorder: FakeRecorder,
) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("broken")

    root, broken = logging.getLogger(), Broken()
    root.addHandler(broken)
    try:
        with captured(recorder) as log, printed_to(log):
            print("printed")
        line = LogLine(logged_at=NOW, level=logging.INFO, logger="stdout", message="below")
        log_for_run(run_of(7), line)
        announce_start(run_of(7))
    finally:
        root.removeHandler(broken)
    assert recorder.texts == ["printed"]


class Listener(logging.Handler):
    """A handler of the project's, which shows lines as its formatter has them."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(message)s|%(run)s"))
        self.shown: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.shown.append(self.format(record))


@pytest.fixture
def listener(shop: logging.Logger) -> Iterator[Listener]:
    handler = Listener()
    shop.addHandler(handler)
    yield handler
    shop.removeHandler(handler)


def test_project_handlers_know_the_run_of_records(
    recorder: FakeRecorder, shop: logging.Logger, listener: Listener
) -> None:
    with captured(recorder):
        shop.info("within")
        shop.info("own words", extra={"task": "spring cleaning"})
    shop.info("outside")
    assert listener.shown == [
        "within|task=one execution=7",
        "own words|task=one execution=7",
        "outside|",
    ]


def test_the_filter_can_be_named_in_the_settings(listener: Listener) -> None:
    listener.addFilter(RunFilter())
    record = logging.makeLogRecord({"msg": "line"})
    assert listener.filter(record)
    assert (record.run, hasattr(record, "task")) == ("", False)  # type: ignore[attr-defined]


def test_unlogged_output_is_passed_on_with_its_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    line = LogLine(logged_at=NOW, level=logging.WARNING, logger="stderr", message="100 % full")
    log_for_run(run_of(7), line)
    [record] = caplog.records
    assert (record.name, record.getMessage()) == ("scheduled_tasks.output.stderr", "100 % full")
    assert (record.task, record.execution) == ("one", 7)  # type: ignore[attr-defined]


def test_unhandled_warnings_are_shown_by_last_resort(
    shop: logging.Logger, recorder: FakeRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(logging.lastResort, "handle", lambda record: shown.append(record.msg))
    with captured(recorder):
        for handler in (ours := logging.getLogger().handlers.copy()):
            if not isinstance(handler, LogCapture):
                logging.getLogger().removeHandler(handler)
        try:
            shop.info("info")
            shop.warning("warning")
        finally:
            logging.getLogger().handlers[:] = ours
    assert shown == ["warning"]
