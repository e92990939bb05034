"""Words of log lines, marks and findings that depend on a number or a moment."""

from __future__ import annotations

from datetime import UTC, datetime


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: "1 execution", "2 executions"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def in_utc(moment: datetime) -> str:
    """Return a moment as text, to the second: what reads it may be anywhere."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
