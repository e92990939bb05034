"""Copies what is logged in a run to its log, and logs what no logger of the run has received."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from scheduled_tasks.conf import app_settings
from scheduled_tasks.runtime.logs.current_run import current_log, entered
from scheduled_tasks.runtime.logs.labels import label_all, labels_of
from scheduled_tasks.runtime.logs.run_log import RunLog
from scheduled_tasks.runtime.messages import LogLine
from scheduled_tasks.runtime.runs import Run
from scheduled_tasks.runtime.sanitizing import safe_repr
from scheduled_tasks.runtime.tracebacks import format_error
from scheduled_tasks.runtime.validation import MAX_LEVEL

#: Every ``context.logger`` is a child of this one.
RUN_LOGGER = logging.getLogger("scheduled_tasks.run")
#: The parent of ``stdout`` and ``stderr``, the loggers of printed lines.
OUTPUT_LOGGER = logging.getLogger("scheduled_tasks.output")
OUR_PREFIX = "scheduled_tasks."
RUN_PREFIX, OUTPUT_PREFIX = f"{RUN_LOGGER.name}.", f"{OUTPUT_LOGGER.name}."
#: All records that propagate reach the first. A project may stop ours from propagating to it.
ROOT, OURS = logging.getLogger(), logging.getLogger("scheduled_tasks")


class LogCapture(logging.Handler):
    """Copies each record to the log of the run in which it was logged.

    There are two: one for the records of this app, one for all others.
    """

    def __init__(self, *, ours: bool) -> None:
        super().__init__()
        self.ours = ours

    def handle(self, record: logging.LogRecord) -> bool:
        """Handle a record without a lock: a run that has to wait must not block others."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Copy a record, if it belongs to this handler."""
        # A record that was not made by a logger may have any name and level.
        name = str(record.name)
        if (name == OURS.name or name.startswith(OUR_PREFIX)) is not self.ours:
            return
        try:
            if (log := current_log()) is not None:
                level = int(min(record.levelno, MAX_LEVEL))
                log.add(name.removeprefix(OUTPUT_PREFIX), level, message_of(record))
        except Exception:  # noqa: BLE001 -- a log line never fails the run
            self.handleError(record)
        # Logging uses its last resort only where there is no handler, and ours is one.
        if logging.lastResort and has_no_other_handler(record, logging.lastResort.level):
            logging.lastResort.handle(record)


def message_of(record: logging.LogRecord) -> str:
    """Return the message of a record; unformatted if its arguments do not fit."""
    try:
        return "\n".join(parts_of(record))
    except Exception as error:  # noqa: BLE001 -- a log line never fails the run
        why = f"[could not be formatted: {type(error).__name__}]"
        limit = app_settings.MAX_LOG_LINE_LENGTH
        shown = " ".join(safe_repr(each, limit=limit) for each in (record.msg, record.args))
        return f"{shown} {why}"


def parts_of(record: logging.LogRecord) -> Iterator[str]:
    """Yield what a Formatter would join: the message, an exception, and a stack."""
    yield record.getMessage()
    if record.exc_text or record.exc_info:
        yield record.exc_text or text_of_exception(record)
    if record.stack_info:
        yield record.stack_info


def text_of_exception(record: logging.LogRecord) -> str:
    """Return the exception of a record with its traceback, unlike a Formatter never all of it."""
    if not isinstance(record.exc_info, tuple) or record.exc_info[1] is None:
        return "NoneType: None"
    return format_error(record.exc_info[1], record.exc_info[2]).rstrip("\n")


def install() -> None:
    """Capture what is logged in runs, and label it for the handlers of the project.

    ``context.logger`` and printed lines have the level INFO, unless the project sets another.
    """
    for logger in (ROOT, OURS):
        # Looked for at each run: the run before may have configured logging.
        if not any(isinstance(handler, LogCapture) for handler in logger.handlers):
            logger.addHandler(LogCapture(ours=logger is OURS))
    for logger in (RUN_LOGGER, OUTPUT_LOGGER):
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)
    label_all()


def log_for_run(run: Run, line: LogLine) -> None:
    """Log a line that no logger in the run's process has received."""
    log_safely(line.logger, line.level, line.message, extra=labels_of(run))


def log_safely(stream: str, level: int, text: str, **options: Any) -> None:
    """Log a printed line. An exception in a handler of the project is ignored."""
    with suppress(Exception):
        OUTPUT_LOGGER.getChild(stream).log(level, "%s", text, **options)


def has_no_other_handler(record: logging.LogRecord, level: int) -> bool:
    """Whether a record, from a level up, reaches no handler but ours."""
    if record.levelno < level:
        return False
    logger: logging.Logger | None = logging.getLogger(str(record.name))
    while logger is not None:
        if any(not isinstance(handler, LogCapture) for handler in logger.handlers):
            return False
        logger = logger.parent if logger.propagate else None
    return True


@contextmanager
def logged_to(log: RunLog, *, alone: bool) -> Iterator[None]:
    """Copy what is logged inside this block to a log; if ``alone``, from all threads."""
    install()
    with entered(log, alone=alone):
        yield
