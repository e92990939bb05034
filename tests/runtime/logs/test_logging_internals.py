"""What we use of the logging module that it does not document, by version of Python."""

from __future__ import annotations

import logging
import logging.config
import sys
from weakref import WeakValueDictionary

import pytest

from scheduled_tasks.runtime.logs.logging_internals import (
    KnownLoggers,
    all_handlers,
    called_by_handler,
    called_by_logging,
)

#: Before you add one, read _handlerList, Logger.callHandlers, Handler.handle and all that uses
#: ``time`` in its logging.
VERSIONS = [(3, 11), (3, 12), (3, 13)]


class Asking(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        self.answers = called_by_logging(sys._getframe(1)), called_by_handler()


def test_python_is_a_version_whose_logging_was_read() -> None:
    assert sys.version_info[:2] in VERSIONS


def test_a_handler_without_a_logger_is_found() -> None:
    handler = Asking()
    assert handler in all_handlers()


def test_a_handler_that_a_configuration_forgets_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging, "_handlerList", [])
    monkeypatch.setattr(logging, "_handlers", WeakValueDictionary())
    logger, handler = logging.getLogger("kept.by.its.logger"), Asking()
    logger.addHandler(handler)
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})
    found = [all_handlers() for _ in range(2)]
    logger.removeHandler(handler)
    assert [each.count(handler) for each in found] == [1, 1]


def test_a_handler_knows_that_logging_has_called_it() -> None:
    logger, handler = logging.getLogger("asking"), Asking()
    logger.addHandler(handler)
    logger.error("who calls?")
    logger.removeHandler(handler)
    assert handler.answers == (True, True)


def test_other_code_is_not_called_by_logging() -> None:
    assert (called_by_logging(sys._getframe(1)), called_by_handler()) == (False, False)


def test_new_loggers_are_noticed() -> None:
    logging.getLogger("noticed.above.below")
    known = KnownLoggers()
    assert not known.has_changed()
    logging.getLogger("noticed.above")  # it takes a place that is there already
    assert known.has_changed()
    known = KnownLoggers()
    logging.getLogger("noticed.beside")
    assert known.has_changed()
