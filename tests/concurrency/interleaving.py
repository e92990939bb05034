"""Operations on connections of their own, stopped between statements and let go on in turn.

An actor is a thread with a connection. Before each statement, and before each COMMIT, it stops if
it has been told to, until it is let go on. The stage lets actors go on in a given order: each runs
up to its next stop, to its end, or until it waits for a lock that another one holds, which
PostgreSQL is asked about. What comes next is thus never a matter of time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DatabaseError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from scheduled_tasks.models.sql import transactions as locking

#: How long an actor may be silent before PostgreSQL is asked whether it waits for a lock, and how
#: long nothing may happen at all, in seconds.
SILENCE, LONG = 0.002, 30
READ_COMMITTED, REPEATABLE_READ = "READ COMMITTED", "REPEATABLE READ"
COMMIT, ROLLBACK = "COMMIT", "ROLLBACK"
#: Statements that are no places to stop: nothing happens in them.
UNSTOPPED = ("SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO SAVEPOINT", "SELECT set_config(")

Operation = Callable[[], Any]
#: Which actor goes on, and after how many of its steps it stops; None: it goes on to its end.
Segment = tuple[int, int | None]


@dataclass
class Step:
    """One statement that an actor came to, in which of its transactions, and how that failed."""

    actor: str
    transaction: int
    sql: str
    params: Any = ()
    many: bool = False
    error: str = ""

    def __str__(self) -> str:
        """Return the statement as a line with its parameters."""
        line = f"{self.actor} t{self.transaction}  {self.sql}"
        if self.params:
            line += f"  {self.params!r}"
        return line + (f"\n        !! {self.error}" if self.error else "")


@dataclass
class Played:
    """What came of one interleaving: by actor what was returned or raised, and all steps."""

    results: list[Any] = field(default_factory=list)
    errors: list[BaseException | None] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def of(self, actor: str) -> list[Step]:
        """Return the steps of one actor, in order."""
        return [step for step in self.steps if step.actor == actor]


class Actor:
    """A thread with a connection of its own, which runs one operation at a time."""

    def __init__(self, name: str, turn: threading.Condition, steps: list[Step]) -> None:
        self.name = name
        self.turn = turn
        self.steps = steps
        self.pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"actor-{name}")
        self.future: Future[Any] | None = None
        self.pid = 0
        self.begin()

    def begin(self) -> None:
        """Forget the last operation."""
        self.future = None
        self.position = self.transaction = 0
        self.until: int | None = 0
        self.stopped = False

    def connect(self, isolation: str, prepare: Operation) -> None:
        """Open the connection; both it and what is set on it end with this actor."""

        def opened() -> int:
            prepare()
            wrapper = connections["default"]
            with wrapper.cursor() as cursor:
                cursor.execute(
                    f"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {isolation}"
                )
            wait_for_no_disk()
            wrapper.execute_wrappers.append(self.statement)
            self.watch_ends_of_transactions(wrapper)
            return wrapper.connection.info.backend_pid

        self.pid = self.pool.submit(opened).result(timeout=LONG)

    def watch_ends_of_transactions(self, wrapper: BaseDatabaseWrapper) -> None:
        """Make COMMIT and ROLLBACK steps too; they go past Django's cursor."""
        commit, rollback = wrapper._commit, wrapper._rollback

        def watched_commit() -> None:
            self.reach(COMMIT)
            commit()
            self.transaction += 1

        def watched_rollback() -> None:
            self.note(ROLLBACK)
            rollback()
            self.transaction += 1

        wrapper._commit, wrapper._rollback = watched_commit, watched_rollback

    def close(self) -> None:
        """Close the connection and end the thread, after what it is doing."""
        self.pool.submit(connections.close_all).result(timeout=LONG)
        self.pool.shutdown()

    def go(self, operation: Operation, until: int | None) -> None:
        """Let the operation go on, from its beginning if it has not begun."""
        self.go_on(until)
        if self.future is None:
            self.future = self.pool.submit(operation)
            self.future.add_done_callback(self.tell)

    def go_on(self, until: int | None) -> None:
        with self.turn:
            self.until = until
            self.stopped = False
            self.turn.notify_all()

    def tell(self, future: Future[Any]) -> None:
        with self.turn:
            self.turn.notify_all()

    @property
    def ended(self) -> bool:
        return self.future is None or self.future.done()

    @property
    def moving(self) -> bool:
        """Say whether it is on its way, or waits for a lock."""
        return not (self.ended or self.stopped)

    def statement(
        self,
        execute: Callable[..., Any],
        sql: str,
        params: Any,
        many: bool,  # noqa: FBT001
        context: Any,
    ) -> Any:
        """Run one statement when its turn has come: Django calls this for each."""
        if not context["connection"].in_atomic_block:
            self.transaction += 1
        step = self.reach(str(sql), params, many=many)
        try:
            return execute(sql, params, many, context)
        except DatabaseError as error:
            step.error = f"{type(error).__name__}: {error}".strip()
            raise

    def reach(self, sql: str, params: Any = (), *, many: bool = False) -> Step:
        """Wait before a statement for as long as this actor is to stop there."""
        if not sql.startswith(UNSTOPPED):
            with self.turn:
                while self.until is not None and self.position >= self.until:
                    if not self.stopped:  # said once, or those that stop would wake each other
                        self.stopped = True
                        self.turn.notify_all()
                    if not self.turn.wait(timeout=LONG):
                        raise AssertionError(f"{self.name} was left standing before {sql}")
                self.position += 1
        return self.note(sql, params, many=many)

    def note(self, sql: str, params: Any = (), *, many: bool = False) -> Step:
        params = list(params) if many else params
        step = Step(self.name, self.transaction, sql, params, many=many)
        self.steps.append(step)
        return step


class Stage:
    """Three actors, and the order in which they go on."""

    def __init__(self, actors: Sequence[Actor], turn: threading.Condition) -> None:
        self.actors = actors
        self.turn = turn

    def play(
        self,
        operations: Sequence[Operation],
        schedule: Sequence[Segment],
        look: Callable[[], Sequence[str]] = list,
    ) -> Played:
        """Run operations in the order of a schedule, then all of them to their ends.

        ``look`` is called whenever all actors stand still, and returns what is wrong there.
        """
        played = Played()
        steps = self.actors[0].steps
        steps.clear()
        playing = self.actors[: len(operations)]
        for actor in playing:
            actor.begin()
        for number, until in schedule:
            self.actors[number].go(operations[number], until)
            self.settle(playing)
            played.complaints += look()
        for actor, operation in zip(playing, operations, strict=True):
            actor.go(operation, None)
        self.settle(playing, to_the_end=True)
        played.complaints += look()
        for actor in playing:
            error = actor.future.exception()
            played.errors.append(error)
            played.results.append(None if error else actor.future.result())
        played.steps = list(steps)
        return played

    def settle(self, playing: Sequence[Actor], *, to_the_end: bool = False) -> None:
        """Wait until each has stopped, ended or waits for the lock of one that has stopped."""
        deadline = time.monotonic() + LONG
        while True:
            with self.turn:
                moving = [actor for actor in playing if actor.moving]
                if moving:
                    heard = self.turn.wait(timeout=SILENCE)
            if not moving or (not heard and not to_the_end and blocked(moving)):
                return
            assert time.monotonic() < deadline, f"{[a.name for a in moving]} do not come to an end"


def blocked(actors: Sequence[Actor]) -> bool:
    """Say whether all of these wait for locks, on a connection that is not theirs."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT bool_and(cardinality(pg_blocking_pids(pid)) > 0) FROM unnest(%s) AS pid",
            [[actor.pid for actor in actors]],
        )
        return bool(cursor.fetchone()[0])


def try_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the engine not pause before it tries again: here the order of things is given."""
    monkeypatch.setattr(locking, "time", SimpleNamespace(sleep=lambda seconds: None))


def take_locks_away() -> None:
    """Let this thread have a connection to PostgreSQL that cannot lock rows."""
    from tests.support.unlocked_postgresql.base import DatabaseWrapper  # noqa: PLC0415 -- needs psycopg

    connections["default"] = DatabaseWrapper(connections["default"].settings_dict, "default")
    wait_for_no_disk()
    with connection.cursor() as cursor:  # it comes to deadlocks; only superusers may hurry them
        cursor.execute(
            "SELECT set_config('deadlock_timeout', '20ms', false)"
            " FROM pg_roles WHERE rolname = current_user AND rolsuper"
        )


def wait_for_no_disk() -> None:
    """Let the commits of this thread's connection not wait until they are on disk: no test does."""
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")


@contextmanager
def waiting_for_no_disk() -> Iterator[None]:
    """Do so for as long as this goes on."""
    wait_for_no_disk()
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET synchronous_commit")


@contextmanager
def stage(isolation: str, *, prepare: Operation = list) -> Iterator[Stage]:
    """Open a stage; ``prepare`` is called in each actor's thread before it connects."""
    turn = threading.Condition()
    steps: list[Step] = []
    actors = [Actor(name, turn, steps) for name in "ABC"]
    try:
        for actor in actors:
            actor.connect(isolation, prepare)
        yield Stage(actors, turn)
    finally:
        for actor in actors:
            actor.go_on(None)  # all first: one may wait for a lock of another
        for actor in actors:
            actor.close()
