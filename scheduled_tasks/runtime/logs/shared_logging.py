"""Keeps the logging of a process that runs share as it was before the first of them.

A handler that configures logging does so for its whole process: ``dictConfig`` disables the loggers
that exist, ``basicConfig(force=True)`` removes handlers. What would silence or break the lines of
other runs is undone at the start and the end of each run. What shows more than before stays.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from scheduled_tasks.runtime.logs.capture import OUR_PREFIX, OURS, ROOT, RUN_PREFIX, install
from scheduled_tasks.runtime.logs.logging_internals import (
    KnownLoggers,
    all_loggers,
    disabled_level,
    existing_logger,
    keep_clocks,
)


@dataclass(frozen=True, slots=True)
class LoggerState:
    """The configuration of one logger."""

    level: int = logging.NOTSET
    propagate: bool = True
    filters: tuple[object, ...] = ()
    handlers: tuple[logging.Handler, ...] = ()

    @classmethod
    def of(cls, logger: logging.Logger) -> LoggerState:
        return cls(logger.level, logger.propagate, tuple(logger.filters), tuple(logger.handlers))

    def is_kept_by(self, logger: logging.Logger) -> bool:
        """Whether nothing has been changed on a logger, except that it has more handlers."""
        return (
            logger.level == self.level
            and logger.propagate is self.propagate
            and not logger.disabled
            and tuple(logger.filters) == self.filters
            and (tuple(logger.handlers) == self.handlers or self.has_handlers_in(logger))
        )

    def has_handlers_in(self, logger: logging.Logger) -> bool:
        return all(handler in logger.handlers for handler in self.handlers)

    def restore(self, logger: logging.Logger) -> None:
        """Undo what was changed on a logger, except that it shows more."""
        logger.disabled = False
        logger.propagate = self.propagate
        logger.filters[:] = list(self.filters)  # type: ignore[arg-type]
        for handler in self.handlers:
            logger.addHandler(handler)  # does nothing if it is there
        before = logger.level
        logger.setLevel(self.level)
        if before and before < logger.getEffectiveLevel():
            logger.setLevel(before)


#: A logger that nothing has configured.
NEW = LoggerState()


class SharedLogging:
    """Remembers the configuration of logging when it is created."""

    def __init__(self) -> None:
        keep_clocks()
        install()  # what it adds belongs to it
        self._disabled_level = disabled_level()
        self._factory = logging.getLogRecordFactory()
        self._logger_class = logging.getLoggerClass()
        on_our_way = [each for each in all_loggers() if each.name.startswith(OUR_PREFIX)]
        self._states = {each: LoggerState.of(each) for each in (ROOT, OURS, *on_our_way)}
        handlers = {handler for state in self._states.values() for handler in state.handlers}
        self._handlers = {each: (each.level, tuple(each.filters)) for each in handlers}
        self._look_at_loggers()

    def _look_at_loggers(self) -> None:
        """List the loggers that are restored for each run: not those of tasks, which are many."""
        self._known = KnownLoggers()
        others = [each for each in all_loggers() if not each.name.startswith(RUN_PREFIX)]
        self._enabled = [each for each in others if not each.disabled]
        ours = [each for each in others if each.name.startswith(OUR_PREFIX)]
        self._ours = [(each, self._states.get(each, NEW)) for each in (ROOT, OURS, *ours)]

    def restore(self, task_name: str = "") -> None:
        """Undo what would silence or break the lines of other runs, and of a task's next run.

        It is called twice for each run, and setting anything empties the caches of all loggers. So
        it looks before it sets.
        """
        if disabled_level() > self._disabled_level:
            logging.disable(self._disabled_level)
        if logging.getLogRecordFactory() is not self._factory and not makes_records():
            logging.setLogRecordFactory(self._factory)
        if logging.getLoggerClass() is not self._logger_class and not logs():
            logging.setLoggerClass(self._logger_class)
        self._restore_loggers(task_name)
        for handler, (level, filters) in self._handlers.items():
            if handler.level > level:
                handler.setLevel(level)
            if tuple(handler.filters) != filters:
                handler.filters[:] = list(filters)

    def _restore_loggers(self, task_name: str) -> None:
        for logger in self._enabled:
            if logger.disabled:
                logger.disabled = False
        if self._known.has_changed():  # a run may have imported modules with more of them
            self._look_at_loggers()
        of_task = [(each, self._states.get(each, NEW)) for each in loggers_of(task_name)]
        for logger, state in (*self._ours, *of_task):
            if not state.is_kept_by(logger):
                state.restore(logger)


def loggers_of(task_name: str) -> Iterator[logging.Logger]:
    """Yield the loggers that only records of a task pass: its own, and those of its prefixes."""
    name = f"{RUN_PREFIX}{task_name}"
    while name.startswith(RUN_PREFIX):
        if logger := existing_logger(name):
            yield logger
        name = name.rpartition(".")[0]


def makes_records() -> bool:
    """Whether the factory of records works; a handler may have set another one."""
    try:
        made = logging.getLogRecordFactory()("", logging.INFO, "", 0, "", (), None)
    except Exception:  # noqa: BLE001 -- it is the code of a handler
        return False
    return isinstance(made, logging.LogRecord)


def logs() -> bool:
    """Whether the loggers of the class work; a handler may have set another one."""
    try:
        logger = logging.getLoggerClass()("")
        logger.addHandler(logging.NullHandler())
        logger.error("")
    except Exception:  # noqa: BLE001 -- it is the code of a handler
        return False
    return True
