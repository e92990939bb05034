"""Local times against those of croniter and cronsim, for random expressions on naive moments.

The long form::

    SCHEDULES=20000 python -m tests tests/schedules/test_oracles.py
"""

from __future__ import annotations

import os
import random
from datetime import datetime, timedelta
from itertools import islice

from croniter import croniter
from cronsim import CronSim

from scheduled_tasks.exceptions import InvalidSchedule
from scheduled_tasks.schedules.cron_grammar import read

EXPRESSIONS = int(os.environ.get("SCHEDULES", "700"))
MATCHES = 4


def item(draw: random.Random, low: int, high: int) -> str:
    first, last = sorted((draw.randint(low, high), draw.randint(low, high)))
    step = draw.randint(1, high - low)
    # To croniter, a range of one number is the whole field.
    last = last if last > first else None
    kinds = ["*", f"*/{step}", str(first), str(first)]
    return draw.choice([*kinds, f"{first}-{last}", f"{first}-{last}/{step}"] if last else kinds)


def some_items(draw: random.Random, low: int, high: int) -> str:
    return ",".join(item(draw, low, high) for _ in range(draw.choice([1, 1, 1, 2, 3])))


def day(draw: random.Random) -> str:
    return draw.choice(["*", "*", "L", some_items(draw, 1, 31), f"{draw.randint(1, 28)},L"])


def nth_weekday(draw: random.Random) -> str:
    return f"{draw.randint(0, 6)}{draw.choice(['#1', '#2', '#3', '#4', '#5', 'L'])}"


def expression(draw: random.Random, weekday: str) -> str:
    times = f"{some_items(draw, 0, 59)} {some_items(draw, 0, 23)}"
    months = draw.choice(["*", "*", some_items(draw, 1, 12)])
    return f"{times} {day(draw)} {months} {weekday}"


def moment(draw: random.Random) -> datetime:
    return datetime(1990, 1, 1) + timedelta(seconds=draw.randrange(60 * 365 * 86_400))


def found(text: str, after: datetime) -> list[datetime] | None:
    try:
        timetable = read(text)
    except InvalidSchedule as error:
        assert "never reached" in str(error)  # noqa: PT017
        return None
    matches = []
    for _ in range(MATCHES):
        after = timetable.next_match(after)
        matches.append(after)
    return matches


def test_matches_are_those_of_cronsim() -> None:
    draw = random.Random(1)
    for _ in range(EXPRESSIONS):
        weekday = draw.choice(["*", some_items(draw, 0, 6), nth_weekday(draw)])
        weekday = draw.choice([weekday, weekday, f"{weekday},{nth_weekday(draw)}"])
        text, after = expression(draw, weekday), moment(draw)
        matches = found(text, after)
        # It gives up after fifty years.
        if matches is not None and matches[-1].year < after.year + 50:
            assert matches == list(islice(CronSim(text, after), MATCHES)), (text, after)


def test_matches_are_those_of_croniter() -> None:
    draw = random.Random(2)
    for _ in range(EXPRESSIONS):
        # It does not combine weekdays of the month with others, or with a day of the month.
        alone = draw.random() < 0.2
        weekday = nth_weekday(draw) if alone else draw.choice(["*", some_items(draw, 0, 6)])
        minute, hour, days, months, weekday = expression(draw, weekday).split()
        days = "*" if alone else days
        if ",*" in days + weekday:
            continue  # to it, a list with a star anywhere is a star
        text, after = f"{minute} {hour} {days} {months} {weekday}", moment(draw)
        matches = found(text, after)
        if matches is not None and matches[-1].year < after.year + 50:
            weekday = f"L{weekday[0]}" if "L" in weekday else weekday
            theirs = f"{minute} {hour} {days} {months} {weekday}"
            walk = croniter(theirs, after, ret_type=datetime, implement_cron_bug=True)
            assert matches == [walk.get_next() for _ in matches], (text, after)
