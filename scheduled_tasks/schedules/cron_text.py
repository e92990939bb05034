"""Why a text is refused that does not have the five fields of cron, and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Callable

from scheduled_tasks.exceptions import InvalidSchedule
from scheduled_tasks.schedules.cron_fields import WEEKDAYS
from scheduled_tasks.schedules.english import meaning
from scheduled_tasks.schedules.text import quoted
from scheduled_tasks.schedules.zones import zone_meant

MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
FIELD_COUNT = 5
ZONE_PREFIX = re.compile(r"(?:CRON_)?TZ=(.*)", re.IGNORECASE)
YEAR = re.compile(r"\d{4}(?:-\d{4})?", re.ASCII)
SECONDS = re.compile(r"\*|[*0]/([1-9]\d?)", re.ASCII)
MOMENT = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d)?", re.ASCII)
#: As Amazon's schedulers have it.
CALL = re.compile(r"(?:cron|rate)\((.*)\)", re.IGNORECASE)
#: Numbers of weekdays, not of weeks or steps.
WEEKDAY_NUMBER = re.compile(r"(?<![#/\d])[1-7](?!\d)", re.ASCII)


def words_refusal(words: list[str], is_valid: Callable[[str], bool]) -> InvalidSchedule:
    """Return the error for words that are not five. ``is_valid`` checks what it may propose."""
    if not words:
        return InvalidSchedule("A cron expression is not empty: write '0 9 * * *' for 09:00.")
    if (found := zone_among(words)) is not None:
        name, rest = found
        option = f"timezone={quoted(name)}" if name else "timezone= and the name of a zone"
        return InvalidSchedule(
            f"The time zone is not part of the text: write {quoted(' '.join(rest))} with {option}."
        )
    advice = advice_for(words, is_valid)
    return InvalidSchedule(
        "A cron expression has five fields (minute hour day-of-month month day-of-week), "
        f"this has {len(words)}{f', {advice}' if advice else ''}: {quoted(' '.join(words))}."
    )


def macro_refusal(macro: str) -> InvalidSchedule:
    """Return the error for a word with an @ that is not known."""
    if macro.lower() == "@reboot":
        return InvalidSchedule("'@reboot' is not a time: call the function when a process starts.")
    return InvalidSchedule(f"{quoted(macro.lower())} is not known; known are {', '.join(MACROS)}.")


def zone_among(words: list[str]) -> tuple[str, list[str]] | None:
    """Return a time zone that stands before or after the fields, and the rest of the words."""
    if (match := ZONE_PREFIX.fullmatch(words[0])) and words[1:]:
        return zone_meant(match[1]) or "", words[1:]
    for some, rest in ((words[-1:], words[:-1]), (words[-2:], words[:-2]), (words[:1], words[1:])):
        if rest and (name := zone_meant("_".join(some))):
            return name, rest
    return None


def advice_for(words: list[str], is_valid: Callable[[str], bool]) -> str:
    """Return what to write instead, "" if nothing comes to mind."""
    text = " ".join(words)
    if match := CALL.fullmatch(text):
        return advice_for(match[1].split(), is_valid)
    if (macro := f"@{text.lower()}") in MACROS:
        return f"write {macro!r}"
    if match := MOMENT.fullmatch(text):
        return f"write 'at {text}{'' if match[1] else ' 00:00'}' for one moment"
    if proposal := meaning(text):
        return f"write {proposal!r}"
    if FIELD_COUNT < len(words) <= FIELD_COUNT + 2:
        advice = advice_for_more_fields(without_question_marks(words), is_valid)
        if not advice:
            return "seconds and years are not supported"
        return f"{advice}{advice_for_any_year(words, is_valid)}"
    alone = " ".join(words[:FIELD_COUNT])
    return f"write {quoted(alone)} alone" if words[FIELD_COUNT:] and is_valid(alone) else ""


def advice_for_any_year(words: list[str], is_valid: Callable[[str], bool]) -> str:
    """Return the other reading of six fields: the first may be a second, or the last a year."""
    without = " ".join(words[:FIELD_COUNT])
    both = len(words) == FIELD_COUNT + 1 and words[0].isdigit() and words[-1] == "*"
    seconds_first = is_valid(" ".join(words[1:]))  # otherwise it is the only reading
    if not (both and seconds_first and "?" not in words and is_valid(without)):
        return ""
    return f", or {quoted(without)} if the last field is a year"


def without_question_marks(words: list[str]) -> list[str]:
    """Return the words as cron writes them, if one of the day fields is ``?``.

    Quartz and Amazon write so, and count Sunday as 1. Quartz begins with seconds, Amazon ends with
    years; where the ``?`` stands tells them apart.
    """
    if "?" not in words:
        return words
    weekday = 5 if words.index("?") in {3, 5} else 4
    plain = [word.replace("?", "*") for word in words]
    plain[weekday] = WEEKDAY_NUMBER.sub(lambda match: WEEKDAYS[int(match[0]) - 1], plain[weekday])
    # A year that is any year says nothing.
    return plain[:FIELD_COUNT] if weekday < FIELD_COUNT and plain[FIELD_COUNT:] == ["*"] else plain


def advice_for_more_fields(words: list[str], is_valid: Callable[[str], bool]) -> str:
    """Advise on six or seven fields: with seconds, a year or both, or with a command."""
    if YEAR.fullmatch(words[-1]):
        *words, year = words
        bounds = f", and starts_at and ends_at for the year {year}"
    else:
        bounds = ""
        if len(words) == FIELD_COUNT + 2 and words[-1] == "*":
            words = words[:-1]
    if len(words) == FIELD_COUNT:
        proposal = " ".join(words)
        return f"write {quoted(proposal)}{bounds}" if is_valid(proposal) else ""
    if len(words) != FIELD_COUNT + 1:
        return ""
    return advice_for_seconds(words[0], words[1:], is_valid, bounds)


def advice_for_seconds(
    second: str, fields: list[str], is_valid: Callable[[str], bool], bounds: str
) -> str:
    proposal = " ".join(fields)
    if match := SECONDS.fullmatch(second):
        if set(fields) != {"*"}:
            return ""
        step = int(match[1] or 1)
        every = "every second" if step == 1 else f"every {step} seconds"
        return f"for seconds write {every!r}{bounds}"
    alone = " ".join([second, *fields[:-1]])
    if is_valid(proposal):
        if not second.isdigit():
            return ""  # of several seconds, neither reading has the slots that were meant
        return f"seconds are not supported, write {quoted(proposal)}{bounds}"
    return f"write {quoted(alone)} alone" if is_valid(alone) else ""
