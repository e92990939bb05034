"""What comes out of a run's process below Python, as the fork server reads it."""

from __future__ import annotations

import codecs
import os

from scheduled_tasks.executors.process.wire import CHUNK_BYTES
from scheduled_tasks.runtime.logs.line_splitter import LineSplitter

#: Something that a run has left behind may write on and on.
MAX_READS = 64


class OutputPipe:
    """The reading end of a pipe that a process, and those that it starts, write text into."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self.descriptor = descriptor
        self.open = True
        self._lines = LineSplitter()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        os.set_blocking(descriptor, False)

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self.descriptor

    def read(self) -> list[str]:
        """Return the lines that are whole by what can be read at once."""
        return self._feed(self._take() or b"")

    def drain(self) -> list[str]:
        """Return all that is left, the rest of a line too: who has written it has ended."""
        lines: list[str] = []
        for _ in range(MAX_READS):
            if not (data := self._take()):
                break
            lines += self._feed(data)
        lines += self._lines.feed(self._decoder.decode(b"", final=True))
        return lines + self._lines.end()

    def close(self) -> None:
        """Close the end."""
        os.close(self.descriptor)

    def _take(self) -> bytes | None:
        """Read once: None if there is nothing now, b"" if nobody can write any more."""
        try:
            data = os.read(self.descriptor, CHUNK_BYTES)
        except BlockingIOError:
            return None
        self.open = bool(data)
        return data

    def _feed(self, data: bytes) -> list[str]:
        return self._lines.feed(self._decoder.decode(data))
