"""The log of one run: a limited number of lines, and the last ones in any case."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from django.utils import timezone

from scheduled_tasks.conf import app_settings
from scheduled_tasks.exceptions import RunInterrupted
from scheduled_tasks.runtime.logs.line_splitter import LineSplitter
from scheduled_tasks.runtime.messages import LogLine, Recorder
from scheduled_tasks.runtime.runs import Run
from scheduled_tasks.runtime.sanitizing import redacted_text

#: The number of last lines that are kept until the run ends, beyond the limit.
LAST_LINES = 100
#: The logger name of lines that do not come from the handler.
OWN_NAME = "scheduled_tasks"


class RunLog:
    """Receives the lines of one attempt, from any thread, and sends them to its recorder.

    ``clock`` dates them, like all that happens in a run: the host's wall clock may be wrong.
    """

    def __init__(
        self, run: Run, recorder: Recorder, clock: Callable[[], datetime] = timezone.now
    ) -> None:
        self.run = run
        self.recorder = recorder
        self.clock = clock
        self._remaining = max(app_settings.MAX_LOG_LINES - run.log_count, 0)
        self._longest = app_settings.MAX_LOG_LINE_LENGTH
        self._omitted = 0
        self._last: deque[PendingLine] = deque(maxlen=LAST_LINES)
        self._printed: dict[str, LineSplitter] = {}
        # Re-entrant: a handler of signals may log while the thread that it interrupts does.
        self._lock = threading.RLock()

    def add(self, name: str, level: int, text: str, *, unlogged: bool = False) -> None:
        """Send a line. Beyond the limit, keep it in case it is one of the last."""
        if len(text) > self._longest:
            text = text_of_line(text)
        pending = PendingLine(name, level, text, self.clock(), unlogged)
        with self._lock:
            if self._remaining > 0:
                self._remaining -= 1
                self.recorder.send(pending.line())
                return
            if not self._omitted:
                self._mark(
                    f"Log truncated: MAX_LOG_LINES keeps {app_settings.MAX_LOG_LINES} lines per "
                    f"execution, and the last {LAST_LINES} of an attempt that ends by itself."
                )
            self._omitted += 1
            self._last.append(pending)

    def add_all(self, name: str, level: int, texts: Sequence[str]) -> None:
        """Send lines that no logger has received; beyond the limit keep only the last ones.

        Lines that would be dropped anyway are not processed: a process may write very fast.
        """
        with self._lock:
            # The first line beyond the limit marks the log as truncated.
            dropped = max(len(texts) - self._remaining - 1 - LAST_LINES, 0)
            first = self._remaining + 1 if dropped else len(texts)
            for text in texts[:first]:
                self.add(name, level, text, unlogged=True)
            self._omitted += dropped
            for text in texts[first + dropped :]:
                self.add(name, level, text, unlogged=True)

    def print(self, stream: str, text: str) -> list[str]:
        """Receive printed text. Return the lines that are complete now."""
        with self._lock:
            return self._printed.setdefault(stream, LineSplitter()).feed(text)

    def last_printed(self, stream: str) -> list[str]:
        """Return the incomplete last line, if there is one."""
        with self._lock:
            return self._printed[stream].flush() if stream in self._printed else []

    def close(self) -> None:
        """Send the last lines, and the number of those that are missing before them."""
        with suppress(RunInterrupted), self._lock:
            if missing := self._omitted - len(self._last):
                self._mark(f"{missing} lines omitted.")
            while self._last:
                self.recorder.send(self._last.popleft().line())
            self._omitted = 0

    def _mark(self, text: str) -> None:
        mark = PendingLine(OWN_NAME, logging.WARNING, text, self.clock(), unlogged=False)
        self.recorder.send(mark.line())


class PendingLine(NamedTuple):
    """A line before it is formatted: most of the work is done only if it is kept."""

    name: str
    level: int
    text: str
    at: datetime
    unlogged: bool

    def line(self) -> LogLine:
        return LogLine(
            logged_at=self.at,
            level=self.level,
            logger=self.name,
            message=text_of_line(self.text),
            unlogged=self.unlogged,
        )


def text_of_line(text: str) -> str:
    """Return the text of a line without secrets, as it can be stored."""
    return redacted_text(text, limit=app_settings.MAX_LOG_LINE_LENGTH)
