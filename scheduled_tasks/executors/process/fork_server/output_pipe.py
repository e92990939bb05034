"""What a run's process writes below Python, as the fork server reads it.

The server only passes bytes on: how long it takes must not depend on what they are. The worker
makes lines of them.
"""

from __future__ import annotations

import os

#: The most bytes that are read at once, and that are on their way to the worker.
MAX_READ_BYTES = 1 << 16
#: A process that a run has left behind may write without end.
MAX_READS = 64
#: The last bytes that are kept when the log of the run is full.
MAX_LAST_BYTES = 1 << 18


class OutputPipe:
    """The reading end of a pipe into which a process, and those that it starts, write.

    It is not ``awaited`` while the worker has not read what was sent before. When the log of the
    run is full, only the last bytes are kept; ``omitted`` counts the lines before them.
    """

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self.descriptor = descriptor
        self.open = True
        self.begin_run()
        os.set_blocking(descriptor, False)

    def begin_run(self) -> None:
        """Forget what belongs to the run before."""
        self.awaited = True
        self.full = False
        self.omitted = 0
        self._last = b""

    def fileno(self) -> int:
        return self.descriptor

    def read(self) -> bytes:
        """Read once, without waiting. Return what is to be sent."""
        data = self._read_once() or b""
        if not self.full:
            return data
        self._keep_last(data)
        return b""

    def drain(self) -> bytes:
        """Return all that is left: the run that wrote it has ended."""
        pieces = []
        for _ in range(MAX_READS):
            if not (data := self._read_once()):
                break
            pieces.append(data)
        if not self.full:
            return b"".join(pieces)
        self._keep_last(b"".join(pieces))
        if self.omitted:  # it begins within a line
            self.omitted += 1
            return self._last.partition(b"\n")[2]
        return self._last

    def close(self) -> None:
        os.close(self.descriptor)

    def _read_once(self) -> bytes | None:
        """Return None if there is nothing now, b"" if no process has the other end open."""
        try:
            data = os.read(self.descriptor, MAX_READ_BYTES)
        except BlockingIOError:
            return None
        self.open = bool(data)
        return data

    def _keep_last(self, data: bytes) -> None:
        data = self._last + data
        self.omitted += data.count(b"\n", 0, max(len(data) - MAX_LAST_BYTES, 0))
        self._last = data[-MAX_LAST_BYTES:]
