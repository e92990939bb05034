"""Words of log lines, marks and findings that depend on a number or a moment."""

from __future__ import annotations

from datetime import UTC, datetime

SECONDS_PER_MINUTE = 60
SYMBOLS = {"day": "d", "hour": "h", "minute": "min", "second": "s"}


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: "1 execution", "2 executions"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def in_utc(moment: datetime) -> str:
    """Return a moment as text, to the second: what reads it may be anywhere."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def duration(seconds: float) -> str:
    """Return a length of time: "0.25 s", "12.3 s", "24 hours", "1 h 30 min".

    From a minute on it is exact to the second, below to three digits.
    """
    if round(seconds) < SECONDS_PER_MINUTE:
        return f"{seconds:.3g} s"
    days, rest = divmod(round(seconds), 86_400)
    # One day is rather 24 hours, as in "for 24 hours".
    days, rest = (days, rest) if days > 1 else (0, round(seconds))
    hours, rest = divmod(rest, 3_600)
    minutes, rest = divmod(rest, SECONDS_PER_MINUTE)
    amounts = {"day": days, "hour": hours, "minute": minutes, "second": rest}
    units = [unit for unit, amount in amounts.items() if amount]
    if len(units) == 1:
        return counted(amounts[units[0]], units[0])
    return " ".join(f"{amounts[unit]} {SYMBOLS[unit]}" for unit in units)
