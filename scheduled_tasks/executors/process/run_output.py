"""Makes lines of the log of what the process of a run writes below Python."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from scheduled_tasks.runtime.logs.line_splitter import LineSplitter
from scheduled_tasks.runtime.logs.printed_output import LEVELS
from scheduled_tasks.runtime.logs.run_log import RunLog
from scheduled_tasks.runtime.messages import Message
from scheduled_tasks.runtime.runs import Run

UTF_8 = codecs.getincrementaldecoder("utf-8")


@dataclass(frozen=True, slots=True)
class WorkerRecorder:
    """Sends the lines as messages of the run."""

    send: Callable[[Message], None]

    def confirm(self, message: Message) -> None:
        """Send a message; nothing waits for the answer."""
        self.send(message)


class RunOutput:
    """The output of one run: bytes go in, and lines go to ``send``."""

    def __init__(
        self, run: Run, send: Callable[[Message], None], clock: Callable[[], datetime]
    ) -> None:
        self._log = RunLog(run, WorkerRecorder(send), clock)
        self._decoders = {name: UTF_8("replace") for name in LEVELS}
        self._splitters = {name: LineSplitter() for name in LEVELS}

    @property
    def full(self) -> bool:
        """Whether only the last lines are still kept."""
        return self._log.full

    def receive(self, stream: str, data: bytes, *, omitted: int) -> None:
        """Receive what was written to a stream, after a number of lines that were left out."""
        if omitted:
            self._log.omit(omitted)
        self._add(stream, self._splitters[stream].feed(self._decoders[stream].decode(data)))

    def end(self) -> None:
        """Log what has no end of a line, and the last lines."""
        for stream, splitter in self._splitters.items():
            rest = splitter.feed(self._decoders[stream].decode(b"", final=True))
            self._add(stream, rest + splitter.flush())
        self._log.close()

    def _add(self, stream: str, lines: list[str]) -> None:
        self._log.add_all(stream, LEVELS[stream], lines)
