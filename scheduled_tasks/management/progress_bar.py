"""A progress bar on the terminal, and lines that do not run into it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from tqdm import tqdm

from scheduled_tasks.runtime.logs.capture import all_handlers
from scheduled_tasks.runtime.messages import Message, Progress


class QuietBar(tqdm):
    """A bar that starts no thread of its own: a run may fork."""

    monitor_interval = 0


class Bar:
    """Shows the progress of a run on a terminal, once it has said something of it.

    As a stream it takes lines, which are written above the bar.
    """

    def __init__(self, terminal: TextIO) -> None:
        self.terminal = terminal
        self._bar: QuietBar[Any] | None = None

    def hear(self, message: Message) -> None:
        """Show how far the run has come, if that is what it says."""
        if not isinstance(message, Progress):
            return
        if self._bar is None:
            self._bar = QuietBar(
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
        """Write what the terminal keeps back."""
        self.terminal.flush()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()


@contextmanager
def bar_on(terminal: TextIO, *, shown: bool = True) -> Iterator[Callable[[Message], None]]:
    """Show the progress of a run inside, and its lines above; nothing where nobody looks.

    Yield what has to hear the messages of the run.
    """
    if not (shown and terminal.isatty()):
        yield lambda message: None
        return
    bar = Bar(terminal)
    before = {handler: handler.stream for handler in handlers_on_terminal()}
    for handler in before:
        handler.setStream(bar)
    try:
        yield bar.hear
    finally:
        bar.close()
        for handler, stream in before.items():
            handler.setStream(stream)


def handlers_on_terminal() -> list[logging.StreamHandler[Any]]:
    """Return the handlers of logging that write to a terminal."""
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
    except (AttributeError, ValueError):  # no stream of the usual kind, or a closed one
        return False
