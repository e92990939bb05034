"""The log on the terminal, for projects that show it nowhere."""

from __future__ import annotations

import logging

from scheduled_tasks.runtime.logs.capture import LABELS, LogCapture, message_of
from scheduled_tasks.runtime.redaction import mask_secrets

ROOT = logging.getLogger()
OURS = logging.getLogger("scheduled_tasks")


class ConsoleHandler(logging.StreamHandler):
    """Writes lines to standard error, each with the run that it comes from, without secrets."""

    def handle(self, record: logging.LogRecord) -> bool:
        """Write a line, unless another handler has shown it already."""
        if has_handler(logging.getLogger(record.name)):
            return False
        return bool(super().handle(record))

    def format(self, record: logging.LogRecord) -> str:
        """Put the run behind the line."""
        try:
            said = super().format(record)
        except Exception:  # noqa: BLE001 -- what does not fit together is shown as it came
            said = f"{record.levelname} {message_of(record)}"
        return mask_secrets(f"{said} {getattr(record, 'run', '')}".rstrip())


def show_on_console(level: int) -> None:
    """Show from a level up what this app and its handlers log, unless the project does already."""
    if has_handler(OURS) or any(map(shows, ROOT.handlers)):
        return
    handler = ConsoleHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.addFilter(LABELS)
    handler.setLevel(level)
    ROOT.addHandler(handler)
    ROOT.setLevel(min(ROOT.level or logging.INFO, logging.INFO))
    OURS.setLevel(level)


def level_on_console() -> int | None:
    """Return the level that ``show_on_console`` was called with, None if it shows nothing."""
    shown = any(isinstance(handler, ConsoleHandler) for handler in ROOT.handlers)
    return OURS.level if shown else None


def has_handler(logger: logging.Logger) -> bool:
    """Say whether anything below the root shows what a logger says."""
    current: logging.Logger | None = logger
    while current is not None and current is not ROOT:
        if any(map(shows, current.handlers)):
            return True
        current = current.parent if current.propagate else None
    return False


def shows(handler: logging.Handler) -> bool:
    return not isinstance(handler, LogCapture)
