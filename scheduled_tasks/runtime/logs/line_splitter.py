"""Splits text that arrives in pieces into lines."""

from __future__ import annotations

#: A line is split after this many characters.
MAX_LINE_LENGTH = 1 << 20


class LineSplitter:
    """Receives pieces of text and returns lines as a terminal would finally show them.

    Text before a carriage return is overwritten, as by a progress bar. Blank lines are dropped.
    """

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0

    def feed(self, text: str) -> list[str]:
        """Receive a piece. Return the lines that are complete now."""
        if "\n" not in text:
            self._keep(text)
            return self.flush() if self._length >= MAX_LINE_LENGTH else []
        *whole, rest = text.split("\n")
        whole[0] = self._joined() + whole[0]
        self._keep(rest)
        if "\r" in text or "\r" in whole[0]:
            whole = list(map(as_shown, whole))
        lines = [line for line in whole if line and not line.isspace()]
        return lines if self._length < MAX_LINE_LENGTH else lines + self.flush()

    def flush(self) -> list[str]:
        """Return the incomplete line, if there is one."""
        rest = as_shown(self._joined())
        return [rest] if rest and not rest.isspace() else []

    def _keep(self, text: str) -> None:
        """Keep a piece of a line, without the part that is overwritten."""
        if "\r" in text.rstrip("\r"):
            # A carriage return at the very end stays: with a line feed, it ends the line.
            text = text.rstrip("\r").rpartition("\r")[2] + "\r" * text.endswith("\r")
            self._joined()
        if text:
            self._pieces.append(text)
            self._length += len(text)

    def _joined(self) -> str:
        """Return all pieces and forget them."""
        text = "".join(self._pieces)
        self._pieces, self._length = [], 0
        return text


def as_shown(line: str) -> str:
    return line.rstrip("\r").rpartition("\r")[2]
