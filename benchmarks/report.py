"""Tables of what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

#: From here on figures are shown without decimals.
LARGE = 100
HEADINGS_OF_MACHINE = ("machine", "database", "python", "django")


def markdown(name: str, found: dict[str, Any]) -> str:
    """Return a section with what was measured, where, and a table of medians."""
    machine = "; ".join(f"{heading} {found['machine'][heading]}" for heading in HEADINGS_OF_MACHINE)
    return "\n\n".join(
        [f"## {name.capitalize()}", found["about"], f"{machine}; {runs_of(found)}.", table(found)]
    )


def table(found: dict[str, Any]) -> str:
    """Return the rows as a table in Markdown, which is readable as it is, too."""
    rows = found["rows"]
    labels = in_order(row["labels"] for row in rows)
    figures = in_order(sample for row in rows for sample in row["samples"])
    notes = ["note"] if any(row["note"] for row in rows) else []
    lines = [
        [
            *(row["labels"].get(label, "") for label in labels),
            *(
                figure([sample[name] for sample in row["samples"] if name in sample])
                for name in figures
            ),
            *(row["note"] for _ in notes),
        ]
        for row in rows
    ]
    return aligned([[*labels, *figures, *notes], *lines], left=len(labels))


def in_order(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Return all keys, in the order in which they first come."""
    return list(dict.fromkeys(key for row in rows for key in row))


def figure(samples: Sequence[float]) -> str:
    """Return the median as text, nothing where nothing was measured."""
    if not samples:
        return ""
    value = median(samples)
    return f"{value:,.0f}" if abs(value) >= LARGE else f"{value:.3g}"


def aligned(lines: Sequence[Sequence[str]], *, left: int) -> str:
    """Return lines as a table; the first is the heading, the first ``left`` columns are text."""
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(lines[0]))]
    text = [column < left or lines[0][column] == "note" for column in range(len(widths))]
    ruler = [
        "-" * width if is_text else "-" * (width - 1) + ":"
        for width, is_text in zip(widths, text, strict=True)
    ]

    def shown(line: Sequence[str]) -> str:
        cells = (
            cell.ljust(width) if is_text else cell.rjust(width)
            for cell, width, is_text in zip(line, widths, text, strict=True)
        )
        return f"| {' | '.join(cells)} |"

    return "\n".join(map(shown, [lines[0], ruler, *lines[1:]]))


def runs_of(found: dict[str, Any]) -> str:
    """Say how often it was measured."""
    runs = max(len(row["samples"]) for row in found["rows"])
    return f"the median of {runs} runs" if runs > 1 else "one run"
