"""Judges whether those to whom nothing was done were left alone.

What is done to a worker excuses only what comes after it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from math import inf

from tests.chaos.history import HARMLESS, History, Life, Row, Tried
from tests.chaos.journal import BEGUN
from tests.chaos.plan import LEASE

#: A worker's clock is set by an answer of the database, which may have been under way for as long
#: as somebody can be frozen: so far behind may be what it writes, in seconds.
BEHIND = 2 * LEASE
#: A worker of which two fork servers end in a row while they load ends, in so many seconds at most.
LOADING = 30


def nobody_healthy_is_given_up(history: History) -> Iterator[str]:
    """Hold that nobody is taken for lost to whom nothing was done, even after an outage."""
    for label, state in history.states.items():
        if state == "lost" and not may_end(history.lives[label]):
            yield f"worker {label} was given up, and was well"


def nobody_healthy_loses_runs(history: History) -> Iterator[str]:
    """Hold that runs are lost only by what was done to their worker, or by a long outage."""
    for one in lost(history):
        life = history.lives.get(one.worker)
        by = one.finished_at.timestamp() + BEHIND if one.finished_at else inf
        if not (life and life.may("costs_runs", by=by)) and not by_an_outage(history, one):
            number = one.execution if isinstance(one, Tried) else one.id
            yield f"#{number} was lost by worker {one.worker}, which was well"


def lost(history: History) -> Iterator[Tried | Row]:
    """Yield what was lost, and what had begun and was given back.

    What has not begun may be given back by anybody who was not told that he had claimed it.
    """
    begun = {(line.execution, line.attempt) for line in history.journal if line.what == BEGUN}
    charged = Counter(one.execution for one in history.tried if one.outcome == "lost")
    for one in history.tried:
        given_back = one.outcome == "given_back" and (one.execution, one.number) in begun
        if one.outcome == "lost" or given_back:
            yield one
    kept = {(one.execution, one.number) for one in history.tried}
    for row in history.rows:
        # What was given up while it waited has its last attempt among those above.
        at_last = row.failed and row.category == "lost" and (row.id, row.attempt) not in kept
        if row.losses > charged[row.id] or (at_last and (row.id, row.attempt) in begun):
            yield row


def by_an_outage(history: History, one: Tried | Row) -> bool:
    """Say whether the database was away for so long that it cost a run."""
    after = timedelta(seconds=2 * LEASE)
    return one.finished_at is not None and any(
        outage.seconds >= HARMLESS and outage.begun <= one.finished_at <= outage.ended + after
        for outage in history.outages
    )


def nobody_dies_by_itself(history: History) -> Iterator[str]:
    """Hold that workers to which nothing was done go on until they are stopped, and end well."""
    for label, life in history.lives.items():
        if life.exit_code not in (0, None) and not may_end(life):
            yield f"worker {label} ended with {life.exit_code}, and was well"


def may_end(life: Life) -> bool:
    """Say whether a worker may have ended, or been given up, for what was done to it."""
    servers_lost = sum(
        harm.what.startswith("fork server")
        and harm.costs_runs
        and 0 <= life.ended_at - harm.begun <= LOADING
        for harm in life.harms
    )
    return servers_lost > 1 or life.may("costs_the_worker", by=life.ended_at)
