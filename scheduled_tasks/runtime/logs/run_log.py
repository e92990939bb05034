"""The log of one run: so many lines and no more, but the last ones in any case."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

from scheduled_tasks.conf import app_settings
from scheduled_tasks.exceptions import RunInterrupted
from scheduled_tasks.runtime.logs.line_splitter import LineSplitter
from scheduled_tasks.runtime.messages import LogLine, Recorder
from scheduled_tasks.runtime.runs import Run
from scheduled_tasks.runtime.sanitizing import redacted_text

#: So many of the lines for which there was no room are kept until the run ends, the last ones.
LAST_LINES = 100
#: Under this name stand the lines that are not the handler's.
OWN_NAME = "scheduled_tasks"


class RunLog:
    """Takes the lines of one attempt, from any of its threads, and hands them to its recorder."""

    def __init__(self, run: Run, recorder: Recorder) -> None:
        self.run = run
        self.recorder = recorder
        self._room = max(app_settings.MAX_LOG_LINES - run.log_count, 0)
        self._longest = app_settings.MAX_LOG_LINE_LENGTH
        self._left_out = 0
        self._last: deque[Words] = deque(maxlen=LAST_LINES)
        self._printed: dict[str, LineSplitter] = {}
        # Re-entrant: a handler of signals may log while the thread that it interrupts does.
        self._lock = threading.RLock()

    def take(
        self, name: str, level: int, text: str, *, at: float | None = None, unheard: bool = False
    ) -> None:
        """Keep a line, or where there is no room, keep it in case that it is one of the last.

        ``at`` is the moment of it, in seconds of Unix; otherwise it is now.
        """
        if len(text) > self._longest:
            text = text_of_line(text)
        words = Words(name, level, text, at or time.time(), unheard)
        with self._lock:
            if self._room > 0:
                self._room -= 1
                self.recorder.send(words.line())
                return
            if not self._left_out:
                self._mark(
                    f"Cut here: MAX_LOG_LINES keeps {app_settings.MAX_LOG_LINES} lines of an "
                    f"execution, and the last {LAST_LINES} of an attempt that comes to its end."
                )
            self._left_out += 1
            self._last.append(words)

    def take_all(self, name: str, level: int, texts: Sequence[str]) -> None:
        """Take lines that no logger has heard; of those for which there is no room only the last.

        A process may write faster than anybody can look at it.
        """
        with self._lock:
            # The first for which there is no room has the log marked.
            hopeless = max(len(texts) - self._room - 1 - LAST_LINES, 0)
            first = self._room + 1 if hopeless else len(texts)
            for text in texts[:first]:
                self.take(name, level, text, unheard=True)
            self._left_out += hopeless
            for text in texts[first + hopeless :]:
                self.take(name, level, text, unheard=True)

    def print(self, stream: str, text: str) -> list[str]:
        """Take a piece of what is printed; return the lines that are whole by it."""
        with self._lock:
            return self._printed.setdefault(stream, LineSplitter()).feed(text)

    def last_printed(self, stream: str) -> list[str]:
        """Return what was printed without an end, as a line, if there is anything."""
        with self._lock:
            return self._printed[stream].end() if stream in self._printed else []

    def close(self) -> None:
        """Hand over the last lines, and say how many are missing before them."""
        with suppress(RunInterrupted), self._lock:
            if missing := self._left_out - len(self._last):
                self._mark(f"{missing} lines are left out here.")
            while self._last:
                self.recorder.send(self._last.popleft().line())
            self._left_out = 0

    def _mark(self, text: str) -> None:
        mark = Words(OWN_NAME, logging.WARNING, text, time.time(), unheard=False)
        self.recorder.send(mark.line())


class Words(NamedTuple):
    """What a line will say, if it is kept: most of what makes it takes place only then."""

    name: str
    level: int
    text: str
    at: float
    unheard: bool

    def line(self) -> LogLine:
        """Return the line."""
        return LogLine(
            logged_at=datetime.fromtimestamp(self.at, UTC),
            level=self.level,
            logger=self.name,
            message=text_of_line(self.text),
            unheard=self.unheard,
        )


def text_of_line(text: str) -> str:
    """Return a line's text as it may be stored and read."""
    return redacted_text(text, limit=app_settings.MAX_LOG_LINE_LENGTH)
