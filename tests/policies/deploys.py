"""The rules on code that comes and goes, told a second time: which worker knows which handler."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.policies.records import Task

HEARTBEAT_INTERVAL, LEASE = timedelta(seconds=5), timedelta(seconds=60)
HANDLER_GRACE = timedelta(seconds=600)


@dataclass(kw_only=True)
class Duty:
    """What a worker knows, and when it was last seen, did its chores, and looked for orphans."""

    handlers: frozenset[str]
    seen: datetime
    did_chores: datetime | None = None
    swept: datetime | None = None

    def sweeps(self, now: datetime) -> bool:
        """Note that the worker is seen, and say whether it parks and unparks tasks this time."""
        self.seen = now
        if self.did_chores is not None and now < self.did_chores + HEARTBEAT_INTERVAL:
            return False
        self.did_chores = now
        if self.swept is not None and now < self.swept + LEASE:
            return False
        self.swept = now
        return True


class Duties:
    """What all workers know that there are or were, by their names."""

    def __init__(self) -> None:
        self.duties: dict[str, Duty] = {}

    def begin(self, worker: str, handlers: Collection[str], now: datetime) -> Duty:
        """Return the duty of a worker, which begins when the worker is seen first."""
        return self.duties.setdefault(worker, Duty(handlers=frozenset(handlers), seen=now))

    def known_lately(self, now: datetime) -> set[str]:
        """Return what workers know that were seen within the grace, even if they have stopped."""
        lately = (each for each in self.duties.values() if each.seen >= now - HANDLER_GRACE)
        return set().union(*(each.handlers for each in lately))


def to_unpark(tasks: Iterable[Task], handlers: Collection[str]) -> list[Task]:
    """Return the parked tasks that a worker with these handlers unparks."""
    return [task for task in tasks if task.parked and task.handler in handlers]


def to_park(tasks: Iterable[Task], known: Collection[str], now: datetime) -> list[Task]:
    """Return the tasks with a next run, not just changed, whose handler no worker knows."""
    return [
        task
        for task in tasks
        if (task.next_run_at or task.stale_clock)
        and task.handler not in known
        and task.changed_at <= now - HANDLER_GRACE
    ]
