"""A progress bar on the terminal, with log lines printed above it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from tqdm import tqdm

from scheduled_tasks.runtime.logs.logging_internals import all_handlers
from scheduled_tasks.runtime.messages import Message, Progress


class ThreadlessBar(tqdm):
    """A tqdm bar without a monitor thread, because a run may fork."""

    monitor_interval = 0


class RowCounter:
    """Shows on a terminal how many rows are done, whatever their total; nothing elsewhere."""

    def __init__(self, terminal: TextIO, *, enabled: bool) -> None:
        shown = enabled and is_terminal(terminal)
        self._bar = ThreadlessBar(file=terminal, unit=" rows", leave=False, disable=not shown)

    def show(self, rows: int) -> None:
        self._bar.n = rows
        self._bar.refresh()

    def close(self) -> None:
        with suppress(OSError):  # the terminal may be gone
            self._bar.close()


class ProgressBar:
    """Shows the progress of a run on a terminal once the run has reported some.

    It is also a stream that writes lines above the bar.
    """

    def __init__(self, terminal: TextIO) -> None:
        self.terminal = terminal
        self._bar: ThreadlessBar[Any] | None = None

    def update(self, message: Message) -> None:
        """Show the progress if the message has some."""
        if not isinstance(message, Progress):
            return
        if self._bar is None:
            self._bar = ThreadlessBar(
                total=message.total, file=self.terminal, leave=False, dynamic_ncols=True
            )
        self._bar.total, self._bar.n = message.total, message.done
        self._bar.set_postfix_str(message.text, refresh=False)
        self._bar.refresh()

    def write(self, text: str) -> int:
        """Write a line above the bar."""
        with tqdm.external_write_mode(file=self.terminal):
            return self.terminal.write(text)

    def flush(self) -> None:
        self.terminal.flush()

    def close(self) -> None:
        if self._bar is not None:
            with suppress(OSError):  # the terminal may be gone
                self._bar.close()


@contextmanager
def progress_bar(terminal: TextIO, *, enabled: bool = True) -> Iterator[Callable[[Message], None]]:
    """Show the progress of a run, and print log lines above it. Yield a callback for its messages.

    Show nothing if ``terminal`` is redirected.
    """
    if not (enabled and terminal.isatty()):
        yield lambda message: None
        return
    bar = ProgressBar(terminal)
    before = {handler: handler.stream for handler in handlers_on_terminal()}
    for handler in before:
        handler.setStream(bar)
    try:
        yield bar.update
    finally:
        bar.close()
        for handler, stream in before.items():
            handler.setStream(stream)


def handlers_on_terminal() -> list[logging.StreamHandler[Any]]:
    """Return the log handlers that write to a terminal."""
    # lastResort always writes to the current sys.stderr, so its stream cannot be replaced.
    return [
        handler
        for handler in all_handlers()
        if isinstance(handler, logging.StreamHandler)
        and handler is not logging.lastResort
        and is_terminal(handler.stream)
    ]


def is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # not a regular stream, or a closed one
        return False
