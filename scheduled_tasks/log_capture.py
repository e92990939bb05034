"""What a handler logs becomes messages to the worker, and goes on to the project's own logging."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

from scheduled_tasks.messages import LogLine, Recorder
from scheduled_tasks.storable import storable_text

#: Every ``context.logger`` is a child of this one.
RUN_LOGGER = logging.getLogger("scheduled_tasks.run")

recorder: ContextVar[Recorder] = ContextVar("recorder")


class LogCapture(logging.Handler):
    """Sends each record to the recorder of the run that it was logged in."""

    def handle(self, record: logging.LogRecord) -> bool:
        """Send a record without the lock of other handlers: a run that waits stops no other."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; a line that cannot be formatted is said on stderr, as logging does."""
        target = recorder.get(None)
        if target is None:
            return
        try:
            line = LogLine(
                logged_at=datetime.fromtimestamp(record.created, UTC),
                level=record.levelno,
                logger=record.name,
                message=storable_text(self.format(record)),
            )
        except Exception:  # noqa: BLE001 -- a log line never fails the run
            self.handleError(record)
        else:
            target.send(line)


def install() -> None:
    """Let ``context.logger`` be captured, from INFO up unless the project says otherwise."""
    if not any(isinstance(handler, LogCapture) for handler in RUN_LOGGER.handlers):
        RUN_LOGGER.addHandler(LogCapture())
    if RUN_LOGGER.level == logging.NOTSET:
        RUN_LOGGER.setLevel(logging.INFO)


@contextmanager
def captured(target: Recorder) -> Iterator[None]:
    """Send what is logged inside to a recorder."""
    install()
    token = recorder.set(target)
    try:
        yield
    finally:
        recorder.reset(token)
