"""Whether tasks are scheduled and run: one level, one line, and the problems behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from django.db import Error, connections, transaction

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models import Pause, TaskState, Worker
from scheduled_tasks.models.sql.transactions import is_unusable, write_alias
from scheduled_tasks.monitoring.alerts.condition_settings import threshold
from scheduled_tasks.monitoring.health.invariants import scan_invariants
from scheduled_tasks.monitoring.health.lateness import OldestDue, latest_due
from scheduled_tasks.monitoring.health.live_workers import live_workers
from scheduled_tasks.monitoring.health.violations import Invariant, Violation, still_found
from scheduled_tasks.monitoring.outbox.overdue import overdue_sentences
from scheduled_tasks.runtime.conditions import Condition
from scheduled_tasks.runtime.sanitizing import redacted_text
from scheduled_tasks.runtime.wording import counted, in_utc

#: Seconds that one statement may take, where the database can limit it.
STATEMENT_SECONDS = 5
#: Problems named in the line, and characters of an error.
MAX_NAMED, MAX_ERROR_LENGTH = 5, 300


class Level(IntEnum):
    """How well it is. The numbers are the exit codes of Nagios."""

    OK = 0
    WARNING = 1
    CRITICAL = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, as a sentence."""

    level: Level
    message: str


@dataclass(frozen=True, slots=True)
class Health:
    """What was found: the problems, the worst first, and what else there is to say."""

    problems: tuple[Problem, ...] = ()
    remark: str = ""
    violations: tuple[Violation, ...] = ()

    @property
    def level(self) -> Level:
        """The level of the worst problem."""
        return max((problem.level for problem in self.problems), default=Level.OK)

    @property
    def sentence(self) -> str:
        """The problems, or that there are none; in one line."""
        named = [problem.message for problem in self.problems[:MAX_NAMED]]
        if more := len(self.problems) - len(named):
            named.append(f"And {counted(more, 'more problem')}.")
        return " ".join(" ".join(named or [self.remark]).split())


def health(
    now: datetime | None = None,
    *,
    deep: bool = False,
    using: str = "",
    seen: Sequence[Violation] | None = None,
) -> Health:
    """Return how well tasks are scheduled and run at ``now``, by default the database's time.

    ``deep`` adds the invariants: of those, only what is in ``seen``, the violations of an earlier
    look, if that is given. A database that is away, or has no tables, is a problem like others:
    no error of a database propagates. A statement is limited where the database can do that, but
    the wait for a connection is not: ``check_health`` limits both.
    """
    using = using or write_alias()
    try:
        with limited(using):
            return health_of(now, deep=deep, using=using, seen=seen)
    except Error as error:
        return critical(describe_error(error))


def critical(message: str) -> Health:
    """Return a health that has one problem, which is critical."""
    return Health((Problem(Level.CRITICAL, message),))


@contextmanager
def limited(using: str) -> Iterator[None]:
    """Limit each statement of the block, unless the caller is in a transaction of its own.

    A check that waits for a lock and is repeated would otherwise use up the connections.
    """
    connection = connections[using]
    if connection.vendor != "postgresql" or connection.in_atomic_block:
        yield
        return
    with transaction.atomic(using=using), connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('statement_timeout', %s, true)", [f"{STATEMENT_SECONDS}s"]
        )
        yield


def describe_error(error: Error) -> str:
    first_line = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
    said = redacted_text(first_line, limit=MAX_ERROR_LENGTH)
    if is_unusable(error):
        return (
            "The tables of scheduled tasks are missing or cannot be read. Did migrate run on this "
            f"database, and may this user use them? ({said})"
        )
    return f"The database does not answer: {said}."


def health_of(
    now: datetime | None, *, deep: bool, using: str, seen: Sequence[Violation] | None
) -> Health:
    now = now or Worker.objects.using(using).database_time()
    workers = live_workers(now, using=using)
    problems = list(problems_of_workers(workers, now, using=using))
    violations = scan_invariants(now, using=using) if deep else []
    violations = violations if seen is None else still_found(seen, violations)
    late = latest_due(now, using=using, workers=workers)
    if late and not any(is_about(violation, late) for violation in violations):
        problems.append(Problem(Level.WARNING, str(late)))
    problems += [Problem(Level.WARNING, violation.message) for violation in violations]
    overdue = overdue_sentences(now, using=using) if deep else ()
    problems += [Problem(Level.WARNING, said) for said in overdue]
    problems.sort(key=lambda problem: -problem.level)
    remarks = [
        f"{alive(len(workers))}, nothing is late.",
        *remark_on_parked(using=using),
        *map(str, Pause.objects.using(using).in_force(now)[:1]),
    ]
    return Health(tuple(problems), " ".join(remarks), tuple(violations))


def is_about(violation: Violation, late: OldestDue) -> bool:
    """Whether a violation says of the same slot that it is late."""
    is_slot = late.execution_id is None and violation.code == Invariant.NOT_FIRED
    return is_slot and violation.task_id == late.task_id


def remark_on_parked(*, using: str) -> Iterator[str]:
    """Yield how many tasks are parked: no reason to hold up a deployment, but to look."""
    parked = TaskState.objects.using(using).filter(parked_at__isnull=False, task__enabled=True)
    if count := parked.count():
        yield f"{counted(count, 'task')} parked."


def problems_of_workers(
    workers: Sequence[Worker], now: datetime, *, using: str
) -> Iterator[Problem]:
    wanted = workers_wanted()
    if not workers:
        yield without_workers(now, using=using)
    elif len(workers) < wanted:
        few = f"Only {alive(len(workers))}, there should be {wanted}."
        yield Problem(Level.WARNING, few)


def alive(workers: int) -> str:
    return f"{counted(workers, 'scheduler')} {'is' if workers == 1 else 'are'} alive"


def workers_wanted() -> int:
    """Return how many schedulers there should be at least."""
    return threshold(Condition.TOO_FEW_WORKERS, "workers") or 1


def without_workers(now: datetime, *, using: str) -> Problem:
    """Say which scheduler was the last, and what became of it."""
    schedulers = Worker.objects.using(using).schedulers().order_by("-heartbeat_at")
    last = schedulers.first()
    if last is None:
        message = "No scheduler is alive, and none is on record: start runscheduler."
        return Problem(Level.CRITICAL, message)
    if schedulers.live(now, within=app_settings.LEASE).filter(pk=last.pk).exists():
        message = f"No scheduler starts anything: {last.label}, the last one, is stopping."
        return Problem(Level.WARNING, message)
    became = {Worker.State.STOPPED: "stopped", Worker.State.LOST: "was lost"}
    fate = became.get(Worker.State(last.state), "is silent")
    message = (
        f"No scheduler is alive: {last.label}, the last one, {fate}; its last heartbeat was at "
        f"{in_utc(last.heartbeat_at)}. Start runscheduler."
    )
    return Problem(Level.CRITICAL, message)
