"""Text that comes in pieces, cut into lines."""

from __future__ import annotations

#: A line without an end is taken for one when it has so many characters.
LONGEST_LINE = 1 << 20


class Lines:
    """Takes pieces and gives back lines, as a terminal would show them in the end.

    What a carriage return takes back is not part of its line; blank lines are none.
    """

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, text: str) -> list[str]:
        """Take a piece; return the lines that are whole now."""
        *whole, rest = (self._rest + text).split("\n")
        lines = [shown for line in whole if (shown := as_shown(line))]
        self._rest = rest if rest.endswith("\r") else rest.rpartition("\r")[2]
        return lines if len(self._rest) < LONGEST_LINE else lines + self.end()

    def end(self) -> list[str]:
        """Return what is left, as a line, if there is anything."""
        rest, self._rest = as_shown(self._rest), ""
        return [rest] if rest else []


def as_shown(line: str) -> str:
    shown = line.rstrip("\r").rpartition("\r")[2]
    return shown if shown.strip() else ""
