"""What runs print becomes lines of their log."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from types import CodeType, FrameType
from typing import Any, TextIO

from scheduled_tasks.runtime.logs.capture import Process, current_log, log_safely
from scheduled_tasks.runtime.logs.run_log import RunLog

DESCRIPTORS = {"stdout": 1, "stderr": 2}
#: The streams, and the levels that their lines get.
LEVELS = {"stdout": logging.INFO, "stderr": logging.WARNING}
#: So many callers are looked at to see whether it is logging that writes.
MAX_CALLERS = 40
CALLED_HANDLERS, HANDLED = logging.Logger.callHandlers.__code__, logging.Handler.handle.__code__


class RunStream:
    """Stands in for ``sys.stdout`` or ``sys.stderr`` while runs go on.

    What a run writes is logged line by line. All else goes to the stream behind it, and so does
    what handlers of logging write: it is in the log already.
    """

    def __init__(self, stream: TextIO, name: str) -> None:
        self.stream = stream
        self.name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def fileno(self) -> int:
        """Return the descriptor; in a run that has its process, of what is read as its output."""
        return DESCRIPTORS[self.name] if Process.only else self.stream.fileno()

    @property
    def buffer(self) -> Any:
        """Return what takes bytes, and leads to the same place."""
        if Process.only:
            return FileIO(self.fileno(), "w", closefd=False)
        return self.stream.buffer

    def write(self, text: str) -> int:
        """Log the lines that are whole by it."""
        log = current_log()
        if log is None or is_logging(sys._getframe(1)):  # noqa: SLF001
            return self.stream.write(text)
        say(self.name, log.print(self.name, text))
        return len(text)

    def writelines(self, texts: Any) -> None:
        """Write one after the other."""
        for text in texts:
            self.write(text)


class StreamReplacement:
    """Puts streams in the place of Python's as long as any run goes on in this process."""

    def __init__(self) -> None:
        self._runs = 0
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Take part in it: a run begins."""
        with self._lock:
            self._runs += 1
            for name in LEVELS:
                stream = getattr(sys, name)
                if stream is not None and not isinstance(stream, RunStream):
                    setattr(sys, name, RunStream(stream, name))

    def end(self) -> None:
        """Take back the streams if this was the last run."""
        with self._lock:
            self._runs -= 1
            for name in LEVELS:
                stream = getattr(sys, name)
                if isinstance(stream, RunStream) and not self._runs:
                    setattr(sys, name, stream.stream)


stream_replacement = StreamReplacement()


@contextmanager
def printed_to(log: RunLog) -> Iterator[None]:
    """Let the log that takes what is logged inside take what is printed, too."""
    stream_replacement.begin()
    try:
        yield
    finally:
        try:
            for name in LEVELS:
                say(name, log.last_printed(name))
        finally:
            stream_replacement.end()


def say(name: str, lines: list[str]) -> None:
    """Log lines that came through the stream of this name."""
    for line in lines:
        log_safely(name, LEVELS[name], line)


def is_logging(frame: FrameType | None) -> bool:
    """Say whether logging hands a record to handlers among these callers."""
    return calls(frame, CALLED_HANDLERS, HANDLED)


def is_handling() -> bool:
    """Say whether a handler of logging, which then holds its lock, is among the callers."""
    return calls(sys._getframe(1), HANDLED)  # noqa: SLF001


def calls(frame: FrameType | None, *codes: CodeType) -> bool:
    for _ in range(MAX_CALLERS):
        if frame is None:
            return False
        if frame.f_code in codes:
            return True
        frame = frame.f_back
    return False
