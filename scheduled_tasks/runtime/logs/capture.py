"""What is logged in a run becomes lines of its log, and goes on to the project's own logging."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from copy import copy
from typing import Any

from scheduled_tasks.runtime.logs.run_log import RunLog
from scheduled_tasks.runtime.messages import LogLine
from scheduled_tasks.runtime.runs import Run
from scheduled_tasks.runtime.sanitizing import safe_repr

#: Every ``context.logger`` is a child of this one.
RUN_LOGGER = logging.getLogger("scheduled_tasks.run")
#: The parent of those that say what is printed, ``stdout`` and ``stderr``.
OUTPUT_LOGGER = logging.getLogger("scheduled_tasks.output")
OUR_PREFIX, OUTPUT_PREFIX = "scheduled_tasks.", f"{OUTPUT_LOGGER.name}."
#: Everything comes to these, unless it does not propagate. A project may keep ours from the root.
ROOT, OURS = logging.getLogger(), logging.getLogger("scheduled_tasks")

of_context: ContextVar[RunLog | None] = ContextVar("run_log", default=None)


class Process:
    """What this process is for: ``only`` is the log of the one run that is all it does."""

    only: RunLog | None = None


def current_log() -> RunLog | None:
    """Return the log of the run that this code is part of, None outside of runs."""
    return of_context.get() or Process.only


class LogCapture(logging.Handler):
    """Hands each record to the log of the run that it was logged in.

    There is one for the records of this app, and one for all others.
    """

    def __init__(self, *, ours: bool) -> None:
        super().__init__()
        self.ours = ours

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a record without the lock of other handlers: a run that waits stops no other."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record, if it is this one's to take."""
        name = str(record.name)
        if (name == OURS.name or name.startswith(OUR_PREFIX)) is not self.ours:
            return
        try:
            if (log := current_log()) is not None:
                name = record.name.removeprefix(OUTPUT_PREFIX)
                log.take(name, record.levelno, message_of(record), at=record.created)
        except Exception:  # noqa: BLE001 -- a log line never fails the run
            self.handleError(record)
        if logging.lastResort and is_shown_by_nobody(record, logging.lastResort.level):
            logging.lastResort.handle(record)


FORMATTER = logging.Formatter()


def message_of(record: logging.LogRecord) -> str:
    """Return the words of a record; where they do not fit together, as they came."""
    try:
        if record.exc_info or record.exc_text or record.stack_info:
            # A copy: what a formatter makes of an exception is kept for the formatters after it.
            return FORMATTER.format(copy(record))
        return record.getMessage()  # which is all that the format of a line would be
    except Exception as error:  # noqa: BLE001 -- a log line never fails the run
        why = f"[it could not be formatted: {type(error).__name__}]"
        return f"{safe_repr(record.msg)} {safe_repr(record.args)} {why}"


class RunFilter(logging.Filter):
    """Lets every record pass, and tells formatters which run it comes from.

    ``%(run)s`` is ``task=cleanup execution=4711`` in a run and "" elsewhere; ``task``,
    ``execution`` and ``attempt`` are attributes of the records of runs.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Label a record."""
        known, log = record.__dict__, current_log()
        labels = labels_of(log.run) if log else known
        if "task" in labels and "execution" in labels:
            known.setdefault("run", f"task={labels['task']} execution={labels['execution']}")
        known.setdefault("run", "")
        if log:
            for name, value in labels.items():
                known.setdefault(name, value)
        return True


LABELS = RunFilter()


def labels_of(run: Run) -> dict[str, str | int]:
    """Return what tells a run's records from those of others."""
    return {"task": run.task_name, "execution": run.execution_id, "attempt": run.attempt}


def install() -> None:
    """Catch what is logged in runs, and label it for the handlers of the project.

    ``context.logger`` and what is printed count from INFO up, unless the project says otherwise.
    """
    for logger in (ROOT, OURS):
        if not any(isinstance(handler, LogCapture) for handler in logger.handlers):
            logger.addHandler(LogCapture(ours=logger is OURS))
    for logger in (RUN_LOGGER, OUTPUT_LOGGER):
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)
    label_all()


def label_all() -> None:
    """Let the handlers that there are know of each record which run it comes from."""
    for handler in all_handlers():
        if LABELS not in handler.filters:
            handler.addFilter(LABELS)


def all_handlers() -> list[logging.Handler]:
    """Return every handler that there is, also those that stand behind another."""
    references = list(logging._handlerList)  # type: ignore[attr-defined]  # noqa: SLF001
    return [handler for reference in references if (handler := reference()) is not None]


def log_for_run(run: Run, line: LogLine) -> None:
    """Log what has come to no logger of a run's process, as if it had."""
    log_safely(line.logger, line.level, line.message, extra=labels_of(run))


def log_safely(stream: str, level: int, text: str, **options: Any) -> None:
    """Log what came through a stream. What a handler of the project's raises harms nobody."""
    with suppress(Exception):
        OUTPUT_LOGGER.getChild(stream).log(level, "%s", text, **options)


def leave_run() -> None:
    """Take no part in the run any more, as a process that a handler has forked."""
    of_context.set(None)
    Process.only = None


def is_shown_by_nobody(record: logging.LogRecord, level: int) -> bool:
    """Say whether a record, from a level up, comes to no handler but ours."""
    if record.levelno < level:
        return False
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None:
        if any(not isinstance(handler, LogCapture) for handler in logger.handlers):
            return False
        logger = logger.parent if logger.propagate else None
    return True


@contextmanager
def logged_to(log: RunLog, *, alone: bool) -> Iterator[None]:
    """Let a log take what is logged inside; where the run is ``alone``, by any of its threads."""
    install()
    token = of_context.set(log)
    if alone:
        Process.only = log
    try:
        yield
    finally:
        if alone:
            Process.only = None
        of_context.reset(token)
