"""Text that comes in pieces, cut into lines."""

from __future__ import annotations

#: A line without an end is taken for one when it has so many characters.
MAX_LINE_LENGTH = 1 << 20


class LineSplitter:
    """Takes pieces and gives back lines, as a terminal would show them in the end.

    What a carriage return takes back is not part of its line; blank lines are none.
    """

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0

    def feed(self, text: str) -> list[str]:
        """Take a piece; return the lines that are whole now."""
        if "\n" not in text:
            self._keep(text)
            return self.end() if self._length >= MAX_LINE_LENGTH else []
        *whole, rest = text.split("\n")
        whole[0] = self._joined() + whole[0]
        self._keep(rest)
        if "\r" in text or "\r" in whole[0]:
            whole = list(map(as_shown, whole))
        lines = [line for line in whole if line and not line.isspace()]
        return lines if self._length < MAX_LINE_LENGTH else lines + self.end()

    def end(self) -> list[str]:
        """Return what is left, as a line, if there is anything."""
        rest = as_shown(self._joined())
        return [rest] if rest and not rest.isspace() else []

    def _keep(self, text: str) -> None:
        """Keep a piece of a line, but for what is written over by now."""
        if "\r" in text.rstrip("\r"):
            text = text.rstrip("\r").rpartition("\r")[2] + "\r" * text.endswith("\r")
            self._joined()
        if text:
            self._pieces.append(text)
            self._length += len(text)

    def _joined(self) -> str:
        """Return all pieces, and keep none of them."""
        text = "".join(self._pieces)
        self._pieces, self._length = [], 0
        return text


def as_shown(line: str) -> str:
    return line.rstrip("\r").rpartition("\r")[2]
