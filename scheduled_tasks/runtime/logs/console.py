"""Shows the log on the terminal for projects that do not show it anywhere."""

from __future__ import annotations

import logging

from scheduled_tasks.conf import app_settings
from scheduled_tasks.runtime.logs.capture import LogCapture, message_of
from scheduled_tasks.runtime.logs.labels import LABELS
from scheduled_tasks.runtime.sanitizing import redacted_text

ROOT = logging.getLogger()
OURS = logging.getLogger("scheduled_tasks")


class ConsoleHandler(logging.StreamHandler):
    """Writes lines to standard error, without secrets, each with the run that it comes from."""

    def handle(self, record: logging.LogRecord) -> bool:
        """Write a record, unless another handler has shown it."""
        if has_handler(logging.getLogger(str(record.name))):
            return False
        return bool(super().handle(record))

    def format(self, record: logging.LogRecord) -> str:
        try:
            line = super().format(record)
        except Exception:  # noqa: BLE001 -- a record whose arguments do not fit is shown all the same
            line = f"{record.levelname} {message_of(record)}"
        shown = redacted_text(line, limit=app_settings.MAX_LOG_LINE_LENGTH)
        return f"{shown} {getattr(record, 'run', '')}".rstrip()


def show_on_console(level: int) -> None:
    """Show what this app and its handlers log from a level up, unless the project does."""
    if has_handler(OURS) or any(map(shows, ROOT.handlers)):
        return
    handler = ConsoleHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.addFilter(LABELS)
    handler.setLevel(level)
    ROOT.addHandler(handler)
    # Not the level of the console: what runs log at INFO is stored, however quiet that is.
    ROOT.setLevel(min(ROOT.level or logging.INFO, logging.INFO))
    OURS.setLevel(level)


def level_on_console() -> int | None:
    """Return the level that ``show_on_console`` has set, None if it shows nothing."""
    shown = any(isinstance(handler, ConsoleHandler) for handler in ROOT.handlers)
    return OURS.level if shown else None


def has_handler(logger: logging.Logger) -> bool:
    """Whether a handler below the root logger shows the records of this logger."""
    current: logging.Logger | None = logger
    while current is not None and current is not ROOT:
        if any(map(shows, current.handlers)):
            return True
        current = current.parent if current.propagate else None
    return False


def shows(handler: logging.Handler) -> bool:
    return not isinstance(handler, LogCapture)
