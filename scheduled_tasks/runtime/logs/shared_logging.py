"""Keeps the logging of a process that runs share as it was before the first of them.

A handler that configures logging does so for its whole process: ``dictConfig`` disables the loggers
that exist, ``basicConfig(force=True)`` removes handlers. What would silence or break the lines of
other runs is undone at the start and the end of each run. What shows more than before stays.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from scheduled_tasks.runtime.logs.capture import OUR_PREFIX, OURS, ROOT, install
from scheduled_tasks.runtime.logs.logging_internals import (
    all_loggers,
    disabled_level,
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
        self._enabled = enabled_loggers()
        self._states = {logger: LoggerState.of(logger) for logger in on_our_way()}
        handlers = {handler for state in self._states.values() for handler in state.handlers}
        self._handlers = {each: (each.level, tuple(each.filters)) for each in handlers}

    def restore(self) -> None:
        """Undo what would silence or break the lines of other runs."""
        logging.disable(min(disabled_level(), self._disabled_level))
        if not makes_records():
            logging.setLogRecordFactory(self._factory)
        if not logs(logging.getLoggerClass()):
            logging.setLoggerClass(self._logger_class)
        for logger in self._enabled:
            logger.disabled = False
        self._enabled = enabled_loggers()  # runs may have imported modules with more of them
        for logger in on_our_way():
            self._states.get(logger, NEW).restore(logger)
        for handler, (level, filters) in self._handlers.items():
            handler.setLevel(min(handler.level, level))
            handler.filters[:] = list(filters)


def enabled_loggers() -> list[logging.Logger]:
    return [logger for logger in all_loggers() if not logger.disabled]


def on_our_way() -> list[logging.Logger]:
    """Return the loggers that the records of this app pass: its own, and the root logger."""
    names = [each for each in all_loggers() if each.name.startswith(OUR_PREFIX)]
    return [ROOT, OURS, *names]


def makes_records() -> bool:
    """Whether the factory of records works; a handler may have set another one."""
    try:
        made = logging.getLogRecordFactory()("", logging.INFO, "", 0, "", (), None)
    except Exception:  # noqa: BLE001 -- it is the code of a handler
        return False
    return isinstance(made, logging.LogRecord)


def logs(logger_class: type[logging.Logger]) -> bool:
    """Whether the loggers of a class work; a handler may have set another one."""
    try:
        logger = logger_class("")
        logger.addHandler(logging.NullHandler())
        logger.error("")
    except Exception:  # noqa: BLE001 -- it is the code of a handler
        return False
    return True
