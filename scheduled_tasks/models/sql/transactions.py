"""Transactions of the engine: how rows are locked, and which errors are retried."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import cache, partial, wraps
from itertools import count
from typing import ParamSpec, Protocol, Self, TypeVar

from django.apps import apps
from django.db import (
    DatabaseError,
    InterfaceError,
    InternalError,
    OperationalError,
    connections,
    models,
    router,
    transaction,
)
from django.db.backends.base.base import BaseDatabaseWrapper

from scheduled_tasks.conf import app_settings
from scheduled_tasks.runtime.django_internals import mark_for_write

Row = TypeVar("Row", bound=models.Model)
Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)
Parameters = ParamSpec("Parameters")

#: What a database raises when it is unreachable or cannot write now, perhaps as a replica.
AWAY = (OperationalError, InterfaceError, InternalError)
#: A transaction is tried this many times. Before the next try it sleeps for a random time between
#: these seconds, times the number of tries so far.
MAX_TRIES, RETRY_SECONDS = 6, (0.01, 0.05)
SERIALIZATION_FAILURE, DEADLOCK, LOCK_NOT_AVAILABLE = "40001", "40P01", "55P03"
#: Another transaction inserted a row that refers to one that is being deleted.
FOREIGN_KEY_VIOLATION = "23503"
#: The server ended an idle transaction: this process was frozen.
IDLE_FOR_TOO_LONG = "25P03"
CONFLICTS = (
    SERIALIZATION_FAILURE,
    DEADLOCK,
    LOCK_NOT_AVAILABLE,
    FOREIGN_KEY_VIOLATION,
    IDLE_FOR_TOO_LONG,
)
#: What MySQL and MariaDB call a lock timeout, a deadlock, a row that changed since it was read, and
#: a foreign key that another transaction has just broken.
MYSQL_CONFLICTS = (1205, 1213, 1020, 1451, 1452)
UNDEFINED_TABLE, UNDEFINED_COLUMN, INSUFFICIENT_PRIVILEGE = "42P01", "42703", "42501"
#: What SQLite says, without a code of its own, of tables and columns that are not there.
SQLITE_MISSING = ("no such table", "no such column")
SQLITE_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
#: What PostgreSQL ends by itself, each with its limit in seconds and as a part of a lease.
LIMITS = (
    ("lock_timeout", 5.0, 1 / 12),
    ("statement_timeout", 20.0, 1 / 3),
    ("idle_in_transaction_session_timeout", 20.0, 1 / 3),
)
#: A shorter lease, as in tests, does not shorten the limits: the machine may be busy.
MIN_LEASE = 6.0


class LostRaceError(OperationalError):
    """Another transaction changed the same rows between a read and its guarded UPDATE."""


class LockingQuerySet(models.QuerySet[Row]):
    """Adds the weakest row locks that the engine needs and the database supports."""

    def locked(self, *, skip: bool = False, also: Sequence[str] = ()) -> Self:
        """Lock the rows in ascending id until the transaction ends.

        Rows of related tables are locked only if ``also`` names the relation. With ``skip``, leave
        out rows that another transaction holds where the database supports that, and wait for them
        elsewhere: guarded updates keep both correct.
        """
        queryset = self.using(self.write_alias)
        features = connections[queryset.db].features
        # With OF, because PostgreSQL cannot lock the nullable side of an outer join, such as the
        # task. NO KEY, because FOR UPDATE would block each INSERT that refers to the row.
        return queryset.order_by("pk").select_for_update(
            skip_locked=skip and features.has_select_for_update_skip_locked,
            of=("self", *also) if features.has_select_for_update_of else (),
            no_key=features.has_select_for_no_key_update,
        )

    def on_primary(self) -> Self:
        """Read from the database that the router writes to: replicas may lag behind."""
        return self.using(self.write_alias)

    @property
    def write_alias(self) -> str:
        """The database that the router writes these rows to."""
        mark_for_write(self)
        return self.db


class Skipping(Protocol[Result_co]):
    """A function that leaves out rows that other transactions hold, if it is told to."""

    def __call__(self, *, skip: bool) -> Result_co:
        """Run within a transaction."""


def write_alias() -> str:
    """Return the database that the router writes the tables of this app to."""
    # By name, because the models import this module.
    return router.db_for_write(apps.get_model("scheduled_tasks", "Execution"))


def transactional(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Run each call of the function in one transaction, like ``in_transaction``.

    The function takes the keyword ``using``, the alias of a database. Left out by the caller, it is
    the one that the router writes to.
    """

    @wraps(function)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        using = str(kwargs.setdefault("using", "") or write_alias())
        kwargs["using"] = using
        return in_transaction(partial(function, *args, **kwargs), using=using)

    return call


def in_transaction(operation: Callable[[], Result], *, using: str, limited: bool = True) -> Result:
    """Run the operation in one transaction, and again after a conflict with another one.

    On PostgreSQL the server ends a statement or an idle transaction that exceeds LIMITS, unless
    ``limited`` is false. So no lock outlives a process that was frozen.

    Inside a transaction of the caller there is nothing to restart: the operation runs once, in a
    savepoint, without limits, and the caller handles the conflict.
    """
    inside = connections[using].in_atomic_block
    tries_left = 1 if inside else MAX_TRIES
    while True:
        tries_left -= 1
        try:
            with transaction.atomic(using=using):
                if limited and not inside:
                    set_limits(connections[using])
                return operation()
        except DatabaseError as error:
            if not (tries_left and is_conflict(error)):
                raise
        # After the rollback has released the locks; at random, so that two do not meet again.
        time.sleep(random.uniform(*RETRY_SECONDS) * (MAX_TRIES - tries_left))  # noqa: S311


def waiting_once(operation: Skipping[Result], *, skip: bool, using: str) -> Result:
    """Run ``operation(skip=…)`` like ``in_transaction``; after the first try, skip held rows."""
    # With ``skip`` it counts from 1, so the first try skips held rows, too.
    tries = count(skip)
    return in_transaction(lambda: operation(skip=next(tries) > 0), using=using)


def set_limits(connection: BaseDatabaseWrapper) -> None:
    """Limit the waiting of this transaction, and of none that follows.

    A pooler may give the connection to another client between two transactions.
    """
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute(limits_for(max(app_settings.LEASE, MIN_LEASE)))


@cache
def limits_for(lease: float) -> str:
    """Return the statement that sets all limits at once, for a lease in seconds."""
    limits = [
        f"set_config('{name}', '{round(1000 * min(longest, part * lease))}ms', true)"
        for name, longest, part in LIMITS
    ]
    # One round trip for all; each SET LOCAL would be a statement of its own.
    return f"SELECT {', '.join(limits)}"


def is_conflict(error: DatabaseError) -> bool:
    """Whether other transactions caused the error, not a statement of this one."""
    match error, error.__cause__:
        case LostRaceError(), _:
            return True
        case _, sqlite3.OperationalError() as cause:
            # The low byte: extended codes, such as that of a stale snapshot, have it in common.
            return (cause.sqlite_errorcode & 0xFF) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        case _, cause if (state := getattr(cause, "sqlstate", None)) is not None:
            return state in CONFLICTS
        case _, cause if cause is not None and cause.args:
            return cause.args[0] in MYSQL_CONFLICTS
    return False


def is_unusable(error: BaseException) -> bool:
    """Whether waiting does not help: tables or privileges are missing, or a file is damaged."""
    match error.__cause__:
        case sqlite3.DatabaseError() as cause:
            damaged = getattr(cause, "sqlite_errorcode", 0) & 0xFF in SQLITE_DAMAGED
            return damaged or str(cause).startswith(SQLITE_MISSING)
        case cause:
            state = getattr(cause, "sqlstate", None)
            return state in (UNDEFINED_TABLE, UNDEFINED_COLUMN, INSUFFICIENT_PRIVILEGE)
