"""The log of one run: a limited number of lines, and the last ones in any case."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

from django.utils import timezone

from scheduled_tasks.conf import app_settings
from scheduled_tasks.exceptions import RunInterrupted
from scheduled_tasks.runtime.logs.line_splitter import LineSplitter
from scheduled_tasks.runtime.messages import LogLine, Recorder
from scheduled_tasks.runtime.runs import Run
from scheduled_tasks.runtime.sanitizing import (
    MIN_SEARCHED_LENGTH,
    redacted_ends,
    redacted_text,
)
from scheduled_tasks.runtime.wording import counted

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
        self._omitted = 0
        self._last: deque[PendingLine] = deque(maxlen=LAST_LINES)
        self._printed: dict[str, LineSplitter] = {}
        # Re-entrant: a handler of signals may log while the thread that it interrupts does.
        self._lock = threading.RLock()

    def add(self, name: str, level: int, text: str, *, unlogged: bool = False) -> None:
        """Send a line. Beyond the limit, keep it in case it is one of the last."""
        at = self.clock()
        with self._lock:
            if self._remaining > 0:
                self._remaining -= 1
                self.recorder.send(log_line(name, level, text_of_line(text), at, unlogged=unlogged))
                return
            self._truncate()
            self._omitted += 1
            self._last.append(PendingLine(name, level, text, at, unlogged))

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

    @property
    def full(self) -> bool:
        """Whether only the last lines are still kept."""
        return self._remaining <= 0

    def omit(self, count: int) -> None:
        """Count lines that were not kept; those kept before are not the last ones any more."""
        with self._lock:
            self._truncate()
            self._omitted += count
            self._last.clear()

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
                self._mark(f"{counted(missing, 'line')} omitted.")
            while self._last:
                self.recorder.send(self._last.popleft().line())
            self._omitted = 0

    def _truncate(self) -> None:
        """Mark where the log is truncated, once."""
        if not self._omitted:
            self._mark(
                f"Log truncated: MAX_LOG_LINES keeps {app_settings.MAX_LOG_LINES} lines per "
                f"execution, and the last {LAST_LINES} of an attempt that ends by itself."
            )

    def _mark(self, text: str) -> None:
        self.recorder.send(log_line(OWN_NAME, logging.WARNING, text, self.clock()))


class PendingLine:
    """A line that is kept in case it is one of the last. Only then is more done than to cut it."""

    def __init__(self, name: str, level: int, text: str, at: datetime, unlogged: bool) -> None:  # noqa: FBT001
        self.fields = (name, level)
        self.at, self.unlogged = at, unlogged
        self.length = len(text)
        longest = max(app_settings.MAX_LOG_LINE_LENGTH, MIN_SEARCHED_LENGTH)
        self.whole = self.length <= 2 * longest
        self.first, self.last = (text, "") if self.whole else (text[:longest], text[-longest:])

    def line(self) -> LogLine:
        limit = app_settings.MAX_LOG_LINE_LENGTH
        text = (
            redacted_text(self.first, limit=limit)
            if self.whole
            else redacted_ends(self.first, self.last, length=self.length, limit=limit)
        )
        return log_line(*self.fields, text, self.at, unlogged=self.unlogged)


def log_line(name: str, level: int, text: str, at: datetime, *, unlogged: bool = False) -> LogLine:
    return LogLine(
        logged_at=at,
        level=level,
        logger=redacted_text(name),
        message=text,
        unlogged=unlogged,
    )


def text_of_line(text: str) -> str:
    """Return the text of a line without secrets, as it can be stored."""
    return redacted_text(text, limit=app_settings.MAX_LOG_LINE_LENGTH)
