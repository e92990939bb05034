"""What a run's process writes below Python, as the fork server reads it."""

from __future__ import annotations

import codecs
import os

from scheduled_tasks.executors.process.wire import CHUNK_BYTES
from scheduled_tasks.runtime.logs.line_splitter import LineSplitter

#: A process that a run has left behind may write without end.
MAX_READS = 64


class OutputPipe:
    """The reading end of a pipe into which a process, and those that it starts, write text."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self.descriptor = descriptor
        self.open = True
        self._lines = LineSplitter()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        os.set_blocking(descriptor, False)

    def fileno(self) -> int:
        return self.descriptor

    def read(self) -> list[str]:
        """Read once, without waiting, and return the lines that are complete now."""
        return self._feed(self._read_once() or b"")

    def drain(self) -> list[str]:
        """Return all that is left, an incomplete line too: the run that wrote it has ended."""
        lines: list[str] = []
        for _ in range(MAX_READS):
            if not (data := self._read_once()):
                break
            lines += self._feed(data)
        lines += self._lines.feed(self._decoder.decode(b"", final=True))
        return lines + self._lines.flush()

    def close(self) -> None:
        os.close(self.descriptor)

    def _read_once(self) -> bytes | None:
        """Return None if there is nothing now, b"" if no process has the other end open."""
        try:
            data = os.read(self.descriptor, CHUNK_BYTES)
        except BlockingIOError:
            return None
        self.open = bool(data)
        return data

    def _feed(self, data: bytes) -> list[str]:
        return self._lines.feed(self._decoder.decode(data))
