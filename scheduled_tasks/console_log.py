"""The log of this app on the terminal, for projects that show it nowhere."""

from __future__ import annotations

import logging

ROOT = logging.getLogger("scheduled_tasks")


class ConsoleHandler(logging.StreamHandler):
    """Writes lines to standard error."""


def show_on_console(level: int) -> None:
    """Show this app's log from a level up, unless the project shows it already."""
    if ROOT.hasHandlers():
        return
    handler = ConsoleHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    ROOT.addHandler(handler)
    ROOT.setLevel(level)
    ROOT.propagate = False


def level_on_console() -> int | None:
    """Return the level that ``show_on_console`` was called with, None if it shows nothing."""
    shown = any(isinstance(handler, ConsoleHandler) for handler in ROOT.handlers)
    return ROOT.level if shown else None
