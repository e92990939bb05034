"""What to write instead of six or seven fields: with seconds, with years, or both."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from scheduled_tasks.schedules.cron_fields import FIELDS, WEEKDAYS, Field

FIELD_COUNT = len(FIELDS)
YEAR = re.compile(r"\d{4}(?:-\d{4})?", re.ASCII)
SECOND = re.compile(r"[0-5]?\d", re.ASCII)
SECONDS = re.compile(r"\*|[*0]/([1-9]\d?)", re.ASCII)
SECONDS_IN_MINUTE = 60
#: Where Amazon's schedulers, whose last field is a year, have a ``?``.
AMAZON = {2, 4}
#: Numbers of weekdays, not of weeks or steps.
WEEKDAY_NUMBER = re.compile(r"(?<![#/\d])[1-7](?!\d)", re.ASCII)
FROM_A_NUMBER = re.compile(r"(\w+)/([1-9]\d?)", re.ASCII)


class Reading(NamedTuple):
    """What six or seven words probably are, with "" for a second or a year that is not there.

    It ``is_certain`` if a ``?`` says whose fields they are.
    """

    second: str
    fields: list[str]
    year: str
    is_certain: bool

    @property
    def text(self) -> str:
        """The five fields as cron writes them."""
        return " ".join(map(from_the_start, FIELDS, self.fields))

    @property
    def bounds(self) -> str:
        """What to add for the year, "" if it is any."""
        any_year = self.year in {"", "*"}
        return "" if any_year else f", and starts_at and ends_at for the year {self.year}"


def advice_for_more_fields(words: list[str], refusal_of: Callable[[str], str]) -> str:
    """Return what to write instead, or what is wrong; "" for more than seven words."""
    if len(words) > FIELD_COUNT + 2:
        return ""
    reading = read_words(words)
    advice = advice_for_reading(reading, refusal_of) if reading else ""
    other = without_any_year(words, refusal_of)
    if advice and other:
        return f"{advice}, or {other!r} if the last field is a year"
    if other:
        return f"write {other!r} alone"
    return advice or "seconds and years are not supported"


def read_words(words: list[str]) -> Reading | None:
    """Return the most likely reading, None if there is none."""
    mark = words.index("?") if "?" in words else None
    second, year = "", ""
    if len(words) > FIELD_COUNT + 1 or YEAR.fullmatch(words[-1]) or mark in AMAZON:
        *words, year = words
    if len(words) > FIELD_COUNT:
        second, *words = words
    if len(words) != FIELD_COUNT or not (year in {"", "*"} or YEAR.fullmatch(year)):
        return None
    if mark is None:
        return Reading(second, words, year, is_certain=False)
    return Reading(second, without_question_marks(words), year, is_certain=True)


def without_question_marks(fields: list[str]) -> list[str]:
    """Return fields as cron writes them. Where ``?`` is known, Sunday is 1, and ``L`` Saturday."""
    *others, weekday = (field.replace("?", "*") for field in fields)
    weekday = WEEKDAY_NUMBER.sub(lambda match: WEEKDAYS[int(match[0]) - 1], weekday)
    return [*others, "SAT" if weekday == "L" else weekday]


def from_the_start(field: Field, word: str) -> str:
    """Return a field with ``*/5`` for ``0/5`` and ``5-59/5`` for ``5/5``."""
    match = FROM_A_NUMBER.fullmatch(word.upper())
    if match is None or match[1] not in field.numbers:
        return word
    low, step = field.numbers[match[1]], f"/{match[2]}" if int(match[2]) > 1 else ""
    return f"*{step}" if low == field.low else f"{low}-{field.top}{step}"


def advice_for_reading(reading: Reading, refusal_of: Callable[[str], str]) -> str:
    if match := SECONDS.fullmatch(reading.second):
        return advice_for_seconds(reading, step=int(match[1] or 1))
    if reason := refusal_of(reading.text):
        own = f"seconds and years are not supported, and {reason[0].lower()}{reason[1:]}"
        return own.removesuffix(".") if reading.is_certain else ""
    if not reading.second:
        return f"write {reading.text!r}{reading.bounds}"
    if not SECOND.fullmatch(reading.second):
        return ""  # of several seconds, neither reading has the slots that were meant
    return f"seconds are not supported, write {reading.text!r}{reading.bounds}"


def advice_for_seconds(reading: Reading, *, step: int) -> str:
    # Other steps begin again with each minute.
    if set(reading.fields) != {"*"} or SECONDS_IN_MINUTE % step:
        return ""
    every = "every second" if step == 1 else f"every {step} seconds"
    return f"for seconds write {every!r}{reading.bounds}"


def without_any_year(words: list[str], refusal_of: Callable[[str], str]) -> str:
    """Return six fields without the last, if that may be any year, else ""."""
    text = " ".join(words[:FIELD_COUNT])
    if words[FIELD_COUNT:] != ["*"] or "?" in words or refusal_of(text):
        return ""
    may_be_seconds = not refusal_of(" ".join(words[1:]))
    return text if words[0].isdigit() or not may_be_seconds else ""
