"""What we use of the ``logging`` module that it does not document.

Tested on Python 3.11 to 3.13; see tests/runtime/logs/test_logging_internals.py.
"""

from __future__ import annotations

import logging
import sys
import time
from types import CodeType, FrameType, SimpleNamespace

#: How many callers are examined.
MAX_CALLERS = 40
#: The functions of ``time`` as they are before any run.
CLOCKS = SimpleNamespace(**vars(time))
CALL_HANDLERS, HANDLE = logging.Logger.callHandlers.__code__, logging.Handler.handle.__code__
#: Known to logging until that forgets its handlers.
MARK = logging.NullHandler()


def all_handlers() -> list[logging.Handler]:
    """Return every handler, also those that another handler wraps."""
    known = known_handlers()
    if MARK in known:
        return known
    # ``logging.config`` forgets all handlers, and leaves them to loggers that it does not name.
    for logger in (logging.getLogger(), *all_loggers()):
        for handler in logger.handlers:
            if handler not in known:
                remember(handler)
    remember(MARK)
    return known_handlers()


def known_handlers() -> list[logging.Handler]:
    references = list(logging._handlerList)  # type: ignore[attr-defined]  # noqa: SLF001
    return [handler for reference in references if (handler := reference()) is not None]


def remember(handler: logging.Handler) -> None:
    """Let logging know a handler again, which it then also flushes at exit."""
    logging._addHandlerRef(handler)  # type: ignore[attr-defined]  # noqa: SLF001


def all_loggers() -> list[logging.Logger]:
    """Return every logger but the root logger."""
    # A copy: another thread may create one meanwhile.
    known = list(logging.root.manager.loggerDict.values())
    return [logger for logger in known if isinstance(logger, logging.Logger)]


def existing_logger(name: str) -> logging.Logger | None:
    """Return the logger of a name, without making one."""
    found = logging.root.manager.loggerDict.get(name)
    return found if isinstance(found, logging.Logger) else None


class KnownLoggers:
    """Tells whether there are more loggers than when it was made."""

    def __init__(self) -> None:
        known = dict(logging.root.manager.loggerDict)
        self._count = len(known)
        #: Parents of loggers, which may become loggers themselves.
        self._places = [name for name, each in known.items() if not is_logger(each)]

    def has_changed(self) -> bool:
        known = logging.root.manager.loggerDict
        return len(known) != self._count or any(is_logger(known[each]) for each in self._places)


def is_logger(each: object) -> bool:
    return isinstance(each, logging.Logger)


def disabled_level() -> int:
    """Return the level that was given to ``logging.disable``."""
    return logging.root.manager.disable


def keep_clocks() -> None:
    """Date records by the clocks of Python, whatever a run puts in their place in ``time``.

    A clock that returns NaN would make every call of a logger raise, also those of the worker.
    """
    logging.time = CLOCKS  # type: ignore[attr-defined]


def called_by_logging(frame: FrameType | None) -> bool:
    """Whether these callers include logging that passes a record to its handlers."""
    return has_called(frame, CALL_HANDLERS, HANDLE)


def called_by_handler() -> bool:
    """Whether a logging handler, which then holds its lock, is among the callers."""
    return has_called(sys._getframe(1), HANDLE)  # noqa: SLF001


def has_called(frame: FrameType | None, *codes: CodeType) -> bool:
    for _ in range(MAX_CALLERS):
        if frame is None:
            return False
        if frame.f_code in codes:
            return True
        frame = frame.f_back
    return False
