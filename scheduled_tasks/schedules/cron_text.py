"""Why a text is refused that does not have the five fields of cron, and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Callable

from scheduled_tasks.exceptions import InvalidSchedule
from scheduled_tasks.schedules.cron_fields import FIELDS, MONTHS, WEEKDAYS
from scheduled_tasks.schedules.english import meaning
from scheduled_tasks.schedules.more_fields import advice_for_more_fields
from scheduled_tasks.schedules.once import written
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
ZONE_PREFIX = re.compile(r"(?:CRON_)?TZ=(.*)", re.IGNORECASE)
#: What people write for a zone, but no zone is called.
UNNAMED_ZONE = re.compile(
    r"(?:UTC|GMT)_?[+-]\d.*|\+\d\d?(?::?\d\d)?|-\d\d:?\d\d|(?-i:[A-Z][a-z]+/[A-Z]\w+)"
    r"|[PMCE][SD]?T|BST|CEST|EEST|WEST|MSK|[IJKSHC]ST|SGT|A[CEW][SD]T|NZ[SD]T",
    re.ASCII | re.IGNORECASE,
)
#: As Amazon's schedulers have it.
CALL = re.compile(r"(?:cron|rate)\((.*)\)", re.IGNORECASE)
#: A user, the name or the path of a command, a comment, or what a shell reads.
COMMAND = re.compile(r"[a-z_][a-z0-9_.-]+|\S*[/.~$][A-Za-z]\S*|[#&|>;]+\S*|\[", re.ASCII)
#: Where a field goes on after a blank.
BLANK = re.compile(r"(?<=[-,/#]) | (?=[-,/#])|(?<=[A-Za-z]{3}) (?=L$)", re.ASCII)


def words_refusal(words: list[str], refusal_of: Callable[[str], str]) -> InvalidSchedule:
    """Return the error for words that are not five. ``refusal_of`` checks what it may propose."""
    if not words:
        return InvalidSchedule("A cron expression is not empty: write '0 9 * * *' for 09:00.")
    if (found := zone_among(words)) is not None:
        return zone_refusal(*found, refusal_of)
    advice = advice_for(words, refusal_of)
    return InvalidSchedule(
        "A cron expression has five fields (minute hour day-of-month month day-of-week), "
        f"this has {len(words)}{f', {advice}' if advice else ''}: {quoted(' '.join(words))}."
    )


def macro_refusal(macro: str) -> InvalidSchedule:
    """Return the error for a word with an @ that is not known."""
    if macro.lower() == "@reboot":
        return InvalidSchedule("'@reboot' is not a time: call the function when a process starts.")
    return InvalidSchedule(f"{quoted(macro.lower())} is not known; known are {', '.join(MACROS)}.")


def zone_refusal(name: str, rest: list[str], refusal_of: Callable[[str], str]) -> InvalidSchedule:
    text = " ".join(rest).removesuffix(" in").removesuffix(",")
    any_name = "timezone= and the name of a zone, such as 'Europe/Berlin'"
    option = f"timezone={name!r}" if name else any_name
    wrong = "The time zone is not part of the text"
    if zone_among(rest):  # of several zones, each would add its own sentence
        return InvalidSchedule(f"{wrong}: give it with {option}.")
    if reason := refusal_of(text):
        return InvalidSchedule(f"{wrong}: give it with {option}. {reason}")
    return InvalidSchedule(f"{wrong}: write {text!r} with {option}.")


def zone_among(words: list[str]) -> tuple[str, list[str]] | None:
    """Return a time zone that stands before or after the fields, and the rest of the words.

    The zone is "" if it has no name.
    """
    if (match := ZONE_PREFIX.fullmatch(words[0])) and words[1:]:
        return zone_meant(match[1]) or "", words[1:]
    ends = [(words[-1:], words[:-1]), (words[-2:], words[:-2]), (words[:1], words[1:])]
    for some, rest in ends:
        if rest and (name := zone_meant("_".join(some))):
            return name, rest
    for some, rest in reversed(ends):  # UTC +2 before +2
        if rest and UNNAMED_ZONE.fullmatch("_".join(some)):
            return "", rest
    return None


def advice_for(words: list[str], refusal_of: Callable[[str], str]) -> str:
    """Return what to write instead, "" if nothing comes to mind."""
    text = " ".join(words)
    if match := CALL.fullmatch(text):
        return advice_for(match[1].split(), refusal_of)
    if (macro := f"@{text.lower()}") in MACROS:
        return f"write {macro!r}"
    if moment := written(text):
        return f"write {moment} for one moment"
    if proposal := meaning(text):
        return f"write {proposal!r}"
    if len(words) <= len(FIELDS):
        return ""
    alone, sixth = " ".join(words[: len(FIELDS)]), words[len(FIELDS)]
    if is_command(sixth) and not refusal_of(alone):
        return f"write {alone!r} alone"
    whole = BLANK.sub("", text)
    if len(whole.split()) == len(FIELDS):
        proposal = "" if refusal_of(whole) else f", write {whole!r}"
        return f"a field contains no blank{proposal}"
    return advice_for_more_fields(words, refusal_of)


def is_command(word: str) -> bool:
    """Whether a word after five fields is no field: names of days and months may be in it."""
    return bool(COMMAND.fullmatch(word)) and word[:3].upper() not in {*MONTHS, *WEEKDAYS}
