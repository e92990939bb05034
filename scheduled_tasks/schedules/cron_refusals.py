"""Why a field of a cron expression is refused, and what to write instead."""

from __future__ import annotations

import re

from scheduled_tasks.exceptions import InvalidSchedule
from scheduled_tasks.schedules.cron_fields import DAY, HOUR, MONTH, MONTHS, WEEKDAY, WEEKDAYS, Field
from scheduled_tasks.schedules.text import quoted

LONG_NAMES = {
    MONTH: (
        *("JANUARY", "FEBRUARY", "MARCH", "APRIL", "MAY", "JUNE", "JULY", "AUGUST"),
        *("SEPTEMBER", "OCTOBER", "NOVEMBER", "DECEMBER"),
    ),
    WEEKDAY: ("SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY"),
}
#: Letters of the names that cron knows.
SHORT = 3
LONG_NAME = re.compile(r"[A-Z]{4,}", re.ASCII)
NAME = "[A-Z]{3}|[0-7]"
HASHED = re.compile(r"[HR](\(.*\))?(/.*)?", re.ASCII)
WITH_W = re.compile(r"W\d+|\d+W|LW|WL", re.ASCII)
NUMBER_L = re.compile(r"\d+L", re.ASCII)
WITH_L = re.compile(rf"L([-/].*|\d*|{'|'.join(WEEKDAYS)})|.*-L|\d+L|[A-Z]{{3}}L", re.ASCII)
LAST_WEEKDAY = re.compile(rf"L({NAME})|({NAME})#(?:L|-1)", re.ASCII)
WEEKDAYS_OF_THE_MONTH = re.compile(rf"({NAME})-({NAME})#([1-5])", re.ASCII)
BEFORE_THE_LAST = re.compile(r"L-(\d\d?)", re.ASCII)
WORKING_DAY = re.compile(r"W?(\d\d?)W?", re.ASCII)
#: The days on which the last working day of a month can fall.
LAST_WORKING_DAYS = "26-31"
MIN_DAYS_IN_MONTH = 28


def item_refusal(field: Field, item: str) -> InvalidSchedule:
    """Return the error for an item that the grammar does not know."""
    return field.refusal(item_reason(field, item), item)


def is_a_form_of_others(item: str) -> bool:
    """Whether other systems know this item, so that it is no mistyped number."""
    return any(form.fullmatch(item) for form in (HASHED, WITH_W, WITH_L))


def item_reason(field: Field, item: str) -> str:
    if "?" in item:
        return "'?' is not supported, write *"
    if HASHED.fullmatch(item):
        return "hashed (H) and random (R) values are not supported, write a number"
    if "#" in item:
        return nth_reason(field, item)
    if WITH_W.fullmatch(item):
        return working_day_reason(field, item)
    if WITH_L.fullmatch(item):
        return last_reason(field, item)
    if re.fullmatch(r"[^-]+-", item):
        return "the range has no end, write a range a-b"
    if re.fullmatch(r"-[^-]+", item):
        return "the range has no start, write a range a-b"
    return "write *, a number, a range a-b, or a step */n or a-b/n"


def nth_reason(field: Field, item: str) -> str:
    if field is not WEEKDAY:
        return "only the day-of-week field counts weekdays, such as MON#1"
    if (match := LAST_WEEKDAY.fullmatch(item)) and (match[1] or match[2]) in field.numbers:
        return f"write {match[1] or match[2]}L for the last one of the month"
    match = WEEKDAYS_OF_THE_MONTH.fullmatch(item)
    if match and match[1] in field.numbers and match[2] in field.numbers:
        low, high = field.numbers[match[1]], field.numbers[match[2]]
        names = [
            WEEKDAY.words[day % 7] for day in range(low, (high if high >= low else high + 7) + 1)
        ]
        return f"write {','.join(f'{name}#{match[3]}' for name in names)}"
    return "write MON#1 for the first Monday of the month, to MON#5, or MONL for the last one"


def working_day_reason(field: Field, item: str) -> str:
    reason = "W, the nearest working day, is not supported"
    match = WORKING_DAY.fullmatch(item)
    if field is not DAY or (match and match[1] not in field.numbers):
        return reason
    if match is None:
        days = LAST_WORKING_DAYS
    else:
        day = int(match[1])
        low, high = (
            (1, 3) if day == 1 else (day - 2 if day >= MIN_DAYS_IN_MONTH else day - 1, day + 1)
        )
        days = f"{low}-{min(high, DAY.high)}"
    return (
        f"{reason}, write the days on which it can fall, {days}, and check the date in the handler"
    )


def last_reason(field: Field, item: str) -> str:
    if field is WEEKDAY and (match := LAST_WEEKDAY.fullmatch(item)) and match[1] in field.numbers:
        return f"write {match[1]}L for the last one of the month"
    if field is WEEKDAY and NUMBER_L.fullmatch(item):
        return out_of_range(field)
    if field is not WEEKDAY and item[:-1] in WEEKDAY.numbers:
        return f"{item} belongs in the day-of-week field, as in '0 9 * * {item}'"
    if field is WEEKDAY and item == "L":
        return (
            "write SATL for the last Saturday of the month, or L in day-of-month for its last day"
        )
    if field is DAY and (match := BEFORE_THE_LAST.fullmatch(item)):
        before = int(match[1])
        if 0 < before < MIN_DAYS_IN_MONTH:
            days = f"{MIN_DAYS_IN_MONTH - before}-{DAY.high - before}"
            return (
                "days before the last are not supported, write the days on which it can fall, "
                f"{days}, and check the date in the handler"
            )
    return (
        "L means the last day of the month and stands alone in day-of-month; after a day of the "
        "week, as in FRIL or 5L, it means the last one of the month"
    )


def number_refusal(field: Field, word: str, item: str) -> InvalidSchedule:
    """Return the error for a word that is no number of the field."""
    if word.isdigit():
        midnight = ", midnight is 0" if field is HOUR and word == "24" else ""
        return field.refusal(f"{out_of_range(field)}{midnight}", item)
    for named, names_of in (("month", MONTHS), ("day-of-week", WEEKDAYS)):
        if word in names_of:
            return field.refusal(f"{word} belongs in the {named} field", item)
    names = f" or one of {' '.join(field.words)}" if field.words else ""
    return field.refusal(f"{quoted(word)} is not a number{names}", item)


def out_of_range(field: Field) -> str:
    return f"its numbers go from {field.low} to {field.high}"


def step_refusal(field: Field, word: str, item: str) -> InvalidSchedule:
    """Return the error for a step that is no number, or too short or too long."""
    if word.isdigit():
        return field.refusal(f"a step goes from 1 to {field.size}", item)
    return field.refusal(f"the step {quoted(word)} is not a number", item)


def start_refusal(field: Field, low: str, step: int, item: str) -> InvalidSchedule:
    """Return the error for a number with a step, which to other systems begins a range: 5/15."""
    first = first_of(field, low)
    return field.refusal(
        f"write {span(field, first, field.top, step, as_word=low in field.words)}", item
    )


def backward_refusal(field: Field, low: str, high: str, step: int, item: str) -> InvalidSchedule:
    """Return the error for a range that runs past the end of the field, such as 22-6."""
    first, last = first_of(field, low), field.numbers[high]
    as_word = low in field.words or high in field.words
    if first <= last:
        parts = [(first, last)]
    else:
        # Where the steps go on after the end depends on where they began.
        again = field.low + -(field.top + 1 - first) % step
        parts = [(first, field.top), (again, last)]
    spans = (span(field, *part, step, as_word=as_word) for part in parts)
    return field.refusal(f"the range runs backwards, write {','.join(filter(None, spans))}", item)


def first_of(field: Field, low: str) -> int:
    """Return the number that begins a range: Sunday may be 7."""
    number = field.numbers[low]
    return number if number <= field.top else field.low


def span(field: Field, first: int, last: int, step: int, *, as_word: bool) -> str:
    """Return the text of a range, "" if it is empty."""
    if first > last:
        return ""
    low, high = (field.words[n - field.low] if as_word else str(n) for n in (first, last))
    if last - first < step:
        return low
    return f"{low}-{high}/{step}" if step > 1 else f"{low}-{high}"


def empty_refusal(field: Field, text: str, rest: str) -> InvalidSchedule:
    """Return the error for a list with nothing between two commas."""
    advice = f", write {rest}" if rest else ""
    return field.refusal(f"a comma has nothing on one side{advice}", text)


def with_short_names(field: Field, text: str) -> str:
    """Return the text with names of the field in three letters: of MONDAY, TUES, FRIDAYS."""
    return LONG_NAME.sub(lambda match: short_name(field, match[0]), text)


def short_name(field: Field, word: str) -> str:
    last = "L" if field is WEEKDAY and word.endswith("L") else ""
    name = word.removesuffix(last).removesuffix("S")
    long_names = LONG_NAMES.get(field, ())
    known = len(name) >= SHORT and any(long.startswith(name) for long in long_names)
    return name[:SHORT] + last if known else word
