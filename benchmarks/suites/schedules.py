"""What the next slot of a cron schedule costs, beside croniter, cronsim and APScheduler.

Microseconds of CPU time per expression, for random expressions in New York, and the ratio to
cronsim. ``cold`` parses each expression first, ``warm`` has its object already. ``first`` is the
first expression of a process: it finds nothing that others have left in a cache.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from zoneinfo import ZoneInfo

from croniter import croniter
from cronsim import CronSim

from benchmarks.suites.base import Case, Figures, Plan
from scheduled_tasks.schedules import Cron
from scheduled_tasks.schedules.cron_expansion import expand
from scheduled_tasks.schedules.cron_grammar import read, read_field

#: Random expressions.
SIZE = 1_000
SECONDS = 0.0
WITH_PEERS = False

NAME = "America/New_York"
ZONE = ZoneInfo(NAME)
START = datetime(2026, 11, 29, 12, tzinfo=UTC)
IN_A_ROW = 5_000
RARE = ("0 0 29 2 *", "0 0 29 2 */7", "59 23 31 12 *", "* 9 29 2 *", "0 0 L 2 6", "0 0 * 2 1#5")

#: Makes the slots of an expression, one after the other.
Walk = Callable[[str], Iterator[datetime]]


def ours(expression: str) -> Iterator[datetime]:
    schedule, slot = Cron(expression, timezone=NAME), START
    while (found := schedule.next_after(slot)) is not None:
        yield found
        slot = found


def of_cronsim(expression: str) -> Iterator[datetime]:
    return iter(CronSim(expression, START.astimezone(ZONE)))


def of_croniter(expression: str) -> Iterator[datetime]:
    return iter(croniter(expression, START.astimezone(ZONE), ret_type=datetime))


def of_apscheduler(expression: str) -> Iterator[datetime]:
    from apscheduler.triggers.cron import CronTrigger  # noqa: PLC0415 (it need not be there)

    trigger, slot = CronTrigger.from_crontab(expression, timezone=ZONE), None
    while (slot := trigger.get_next_fire_time(slot, slot or START)) is not None:
        yield slot


WALKS: dict[str, Walk] = {"ours": ours, "cronsim": of_cronsim, "croniter": of_croniter}
with suppress(ImportError):
    next(of_apscheduler("0 0 * * *"))
    WALKS["APScheduler"] = of_apscheduler


def cases(plan: Plan) -> list[Case]:
    """Return the ways to ask, then the rarest dates."""
    expressions = list(islice(random_expressions(random.Random(1)), plan.size))
    ways = {
        "first: parse and next": partial(each, first, expressions),
        "cold: parse and next": partial(each, cold, expressions),
        "warm: next": partial(each, warm, expressions),
        "warm: the next 10": partial(each, next_ten, expressions),
        f"each of {IN_A_ROW:,} in a row: */5 * * * *": partial(each, in_a_row, ["*/5 * * * *"]),
        f"each of {IN_A_ROW:,} in a row: 30 2 * * *": partial(each, in_a_row, ["30 2 * * *"]),
        **{f"first: {expression}": partial(each, first, [expression] * 20) for expression in RARE},
    }
    return [Case(labels={"what": what}, measure=way) for what, way in ways.items()]


def each(measure: Callable[[str, Walk, Sequence[str]], float], texts: Sequence[str]) -> Figures:
    """Measure all packages in turn, in microseconds."""
    found: Figures = {}
    for name, walk in WALKS.items():
        # One that does not know an expression, as APScheduler ``#``, has no figure.
        with suppress(ValueError):
            found[name] = measure(name, walk, texts) * 1e6
    return found | {"ours / cronsim": found["ours"] / found["cronsim"]}


def first(name: str, walk: Walk, texts: Sequence[str]) -> float:
    def begin(text: str) -> None:
        forget()
        next(walk(text))

    return seconds_of(lambda: [begin(text) for text in texts]) / len(texts)


def cold(name: str, walk: Walk, texts: Sequence[str]) -> float:
    forget()
    return seconds_of(lambda: [next(walk(text)) for text in texts]) / len(texts)


def forget() -> None:
    for cached in (read, read_field, expand):
        cached.cache_clear()


def warm(name: str, walk: Walk, texts: Sequence[str]) -> float:
    walks = begun(walk, texts)
    return seconds_of(lambda: [next(slots) for slots in walks]) / len(texts)


def next_ten(name: str, walk: Walk, texts: Sequence[str]) -> float:
    if walk is ours:
        schedules = [Cron(text, timezone=NAME) for text in texts]
        return seconds_of(lambda: [s.upcoming(10, after=START) for s in schedules]) / len(texts)
    walks = begun(walk, texts)
    return seconds_of(lambda: [list(islice(slots, 10)) for slots in walks]) / len(texts)


def in_a_row(name: str, walk: Walk, texts: Sequence[str]) -> float:
    [slots] = begun(walk, texts)
    return seconds_of(lambda: list(islice(slots, IN_A_ROW))) / IN_A_ROW


def begun(walk: Walk, texts: Sequence[str]) -> list[Iterator[datetime]]:
    """Return walks that have parsed their expression and made one step."""
    walks = [walk(text) for text in texts]
    for slots in walks:
        next(slots)
    return walks


def seconds_of(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def random_expressions(draw: random.Random) -> Iterator[str]:
    while True:
        yield " ".join(random_field(draw, *bounds) for bounds in BOUNDS)


#: Days up to 28, so that each expression has slots.
BOUNDS = ((0, 59), (0, 23), (1, 28), (1, 12), (0, 6))


def random_field(draw: random.Random, low: int, high: int) -> str:
    first, last = sorted(draw.sample(range(low, high + 1), 2))
    step = draw.randint(2, (high - low) // 2)
    forms = ("*", "*", f"{first}", f"{first}", f"{first}-{last}", f"*/{step}", f"{first},{last}")
    return draw.choice(forms)
