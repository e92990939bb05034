"""Handlers in threads that configure logging: the lines of later runs, and of the worker, stay."""

from __future__ import annotations

import io
import logging
import logging.config
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scheduled_tasks import TaskContext
from scheduled_tasks.runtime.logs.logging_internals import all_loggers, disabled_level
from scheduled_tasks.runtime.logs.shared_logging import SharedLogging
from scheduled_tasks.runtime.messages import LogLine
from tests.executors.threads_in_hand import Holder

OUR = "scheduled_tasks"
RUN = f"{OUR}.run.one"


def fail(*args: object, **options: object) -> bool:
    raise RuntimeError("this breaks whatever is logged")


def configure_from_file(path: Path = Path("logging.ini")) -> None:
    text = "[loggers]\nkeys=root\n[handlers]\nkeys=\n[formatters]\nkeys=\n"
    logging.config.fileConfig(io.StringIO(f"{text}[logger_root]\nhandlers=\n"))


def remove_handlers() -> None:
    for logger in (logging.getLogger(), logging.getLogger(OUR)):
        logger.handlers.clear()


def silence_ours() -> None:
    for name in (OUR, f"{OUR}.run", f"{OUR}.output", f"{OUR}.output.stdout", RUN, f"{OUR}.worker"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def cut_ours_off() -> None:
    for name in (f"{OUR}.run", f"{OUR}.output", RUN):
        logging.getLogger(name).propagate = False


def add_broken_filters() -> None:
    for name in ("", OUR, RUN, f"{OUR}.output.stdout"):
        logging.getLogger(name).addFilter(fail)  # type: ignore[arg-type]
    for handler in logging.getLogger().handlers:
        handler.addFilter(fail)  # type: ignore[arg-type]


def break_clocks() -> None:
    time.time = time.time_ns = lambda: float("nan")


def replace_streams() -> None:
    sys.stdout, sys.stderr = io.StringIO(), None  # type: ignore[assignment]


class BrokenLogger(logging.Logger):
    """Loses every line with an error."""

    def makeRecord(self, *args: Any, **kwargs: Any) -> logging.LogRecord:  # noqa: N802
        raise RuntimeError("no record")


def close_streams() -> None:
    sys.stdout.close()
    sys.stderr.close()


WAYS: dict[str, Callable[[], object]] = {
    "dictConfig": lambda: logging.config.dictConfig({"version": 1}),
    "dictConfig of the root": lambda: logging.config.dictConfig(
        {"version": 1, "root": {"level": "CRITICAL", "handlers": []}}
    ),
    "fileConfig": configure_from_file,
    "basicConfig": lambda: logging.basicConfig(force=True, level="CRITICAL", handlers=[]),
    "disable": lambda: logging.disable(logging.CRITICAL),
    "handlers removed": remove_handlers,
    "levels": silence_ours,
    "propagate": cut_ours_off,
    "filters": add_broken_filters,
    "factory": lambda: logging.setLogRecordFactory(fail),  # type: ignore[arg-type]
    "clocks": break_clocks,
    "logger class": lambda: logging.setLoggerClass(BrokenLogger),
    "shutdown": logging.shutdown,
    "streams": replace_streams,
    "streams closed": close_streams,
}


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Put everything back that the tests change for this process."""
    states = [(each, each.__dict__.copy()) for each in (logging.getLogger(), *all_loggers())]
    lists = [(each, list(each.handlers), list(each.filters)) for each, _ in states]
    filters = [(each, list(each.filters)) for _, handlers, _ in lists for each in handlers]
    factory, disabled = logging.getLogRecordFactory(), disabled_level()
    logger_class = logging.getLoggerClass()
    streams = sys.stdout, sys.stderr
    registered = dict(logging._handlers), list(logging._handlerList)  # type: ignore[attr-defined]
    clocks = time.time, time.time_ns
    yield
    time.time, time.time_ns = clocks
    sys.stdout, sys.stderr = streams
    logging.setLogRecordFactory(factory)
    logging.setLoggerClass(logger_class)
    logging.disable(disabled)
    logging._handlers.update(registered[0])  # type: ignore[attr-defined]
    logging._handlerList[:] = registered[1]  # type: ignore[attr-defined]
    for each, found in filters:
        each.filters[:] = found
    for logger in set(all_loggers()).difference(each for each, _ in states):
        logger.setLevel(logging.NOTSET)
        logger.propagate, logger.disabled, logger.filters[:] = True, False, []
    for logger, state in states:
        logger.setLevel(state["level"])
        logger.propagate, logger.disabled = state["propagate"], state["disabled"]
    for logger, handlers, found in lists:
        logger.handlers[:], logger.filters[:] = handlers, found


def lines(holder: Holder, number: int) -> list[str]:
    return [said.message for said in holder.said[number] if isinstance(said, LogLine)]


def test_broken_clocks_break_no_record(holder: Holder) -> None:
    def job(context: TaskContext) -> None:
        break_clocks()
        context.logger.info("said")
        record = logging.makeLogRecord({})
        assert math.isfinite(record.created)
        assert logging.Formatter().formatTime(record)

    holder.start(job)
    assert holder.outcome().error == ""
    assert lines(holder, 1) == ["said"]


@pytest.mark.parametrize("way", WAYS)
def test_no_run_silences_those_after_it(holder: Holder, way: str) -> None:
    shop = logging.getLogger(f"shop of {way}")  # the executor has not seen it before
    shop.setLevel(logging.INFO)
    new = f"new after {way}"

    def configure() -> None:
        WAYS[way]()

    def say(context: TaskContext) -> None:
        context.logger.info("said")
        shop.info("sold")
        logging.getLogger(new).warning("new")
        print("printed")

    holder.start(configure, 1)
    assert holder.outcome().status == "success"
    seen: list[str] = []
    watching = logging.Handler()
    watching.emit = lambda record: seen.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(watching)
    logging.getLogger(f"{OUR}.worker.engine").error("of the worker")
    logging.getLogger().removeHandler(watching)
    holder.start(say, 2)
    assert holder.outcome().status == "success"
    assert lines(holder, 2) == ["said", "sold", "new", "printed"]
    assert "of the worker" in seen
    assert not sys.stdout.closed
    assert not sys.stderr.closed


def test_nothing_is_set_where_nothing_was_changed() -> None:
    shared, logger = SharedLogging(), logging.getLogger(RUN)
    shared.restore("one")
    logger.isEnabledFor(logging.INFO)
    shared.restore("one")
    assert logger._cache, "to set a level empties the caches of all loggers"  # type: ignore[attr-defined]


def test_loggers_of_other_tasks_are_left_alone() -> None:
    shared = SharedLogging()
    names = ("a", "a.b", "b")
    loggers = [logging.getLogger(f"{OUR}.run.{name}") for name in names]
    for logger in loggers:
        logger.propagate = False
    shared.restore("a.b")
    assert [logger.propagate for logger in loggers] == [True, True, False]


def test_a_run_may_show_more_than_before(holder: Holder) -> None:
    def debug() -> None:
        logging.getLogger(RUN).setLevel(logging.DEBUG)

    def say(context: TaskContext) -> None:
        context.logger.debug("in detail")

    for number, handler in enumerate((debug, say)):
        holder.start(handler, number)
        assert holder.outcome().status == "success"
    assert lines(holder, 1) == ["in detail"]


def test_warnings_are_captured_after_capture_warnings(holder: Holder) -> None:
    def warn() -> None:
        logging.captureWarnings(capture=True)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("worn", stacklevel=1)
        logging.captureWarnings(capture=False)

    holder.start(warn, 1)
    assert holder.outcome().status == "success"
    assert "worn" in lines(holder, 1)[0]
