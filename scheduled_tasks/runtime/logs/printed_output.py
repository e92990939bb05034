"""Turns what runs print into lines of their log, by replacing ``sys.stdout`` and ``stderr``."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from typing import Any, TextIO

from scheduled_tasks.runtime.logs.capture import log_safely
from scheduled_tasks.runtime.logs.current_run import Process, current_log
from scheduled_tasks.runtime.logs.logging_internals import called_by_logging
from scheduled_tasks.runtime.logs.run_log import RunLog

DESCRIPTORS = {"stdout": 1, "stderr": 2}
#: The level of the lines of each stream.
LEVELS = {"stdout": logging.INFO, "stderr": logging.WARNING}


class RunStream:
    """Replaces ``sys.stdout`` or ``sys.stderr`` while there are runs.

    What a run writes is logged line by line. Everything else goes to the original stream, also
    what logging handlers write, which is in the log already.
    """

    def __init__(self, stream: TextIO, name: str) -> None:
        self.stream = stream
        self.name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def fileno(self) -> int:
        """Return the descriptor; in the process of a run, that of its output pipe."""
        return DESCRIPTORS[self.name] if Process.only else self.stream.fileno()

    @property
    def buffer(self) -> Any:
        """The binary stream with the same destination."""
        if Process.only:
            return FileIO(self.fileno(), "w", closefd=False)
        return self.stream.buffer

    def write(self, text: str) -> int:
        """Log the lines that are complete now."""
        log = current_log()
        if log is None or called_by_logging(sys._getframe(1)):  # noqa: SLF001
            return self.stream.write(text)
        log_lines(self.name, log.print(self.name, text))
        return len(text)

    def writelines(self, texts: Any) -> None:
        for text in texts:
            self.write(text)

    def close(self) -> None:
        """Leave the original stream open: other runs, and the log of the worker, use it, too."""
        self.stream.flush()


class StreamReplacement:
    """Replaces the streams while at least one run is in progress in this process."""

    def __init__(self) -> None:
        self._runs = 0
        #: The streams before the first of these runs.
        self._before: dict[str, TextIO | None] = {}
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Replace the streams for a run that begins."""
        with self._lock:
            if not self._runs:
                self._before = {name: getattr(sys, name) for name in LEVELS}
            self._runs += 1
            for name in LEVELS:
                # Another run may have removed it.
                stream = getattr(sys, name) or self._before[name]
                if stream is not None and not isinstance(stream, RunStream):
                    setattr(sys, name, RunStream(stream, name))

    def end(self) -> None:
        """Restore the streams if this was the last run."""
        with self._lock:
            self._runs -= 1
            if not self._runs:
                # Also in place of what a handler has left there.
                for name, stream in self._before.items():
                    setattr(sys, name, stream)


stream_replacement = StreamReplacement()


@contextmanager
def printed_to(log: RunLog) -> Iterator[None]:
    """Send what is printed inside this block to the log."""
    stream_replacement.begin()
    try:
        yield
    finally:
        try:
            for name in LEVELS:
                log_lines(name, log.last_printed(name))
        finally:
            stream_replacement.end()


def log_lines(name: str, lines: list[str]) -> None:
    """Log lines that were written to the stream with this name."""
    for line in lines:
        log_safely(name, LEVELS[name], line)
