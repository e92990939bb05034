"""Transactions of the engine: which rows they lock, and what is tried again."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable
from typing import Self, TypeVar

from django.db import DatabaseError, OperationalError, connections, models, transaction

Row = TypeVar("Row", bound=models.Model)
Result = TypeVar("Result")

TRIES = 6
SERIALIZATION_FAILURE, DEADLOCK, LOCK_NOT_AVAILABLE = "40001", "40P01", "55P03"
#: A row was added meanwhile for one that is being deleted.
FOREIGN_KEY_VIOLATION = "23503"
CONFLICTS = (SERIALIZATION_FAILURE, DEADLOCK, LOCK_NOT_AVAILABLE, FOREIGN_KEY_VIOLATION)
MYSQL_LOCK_TIMEOUT, MYSQL_DEADLOCK = 1205, 1213


class LostRaceError(OperationalError):
    """Another transaction changed the same rows between a read and its guarded UPDATE."""


class LockingQuerySet(models.QuerySet[Row]):
    """Adds row locks that are as weak as the engine needs and the database can take."""

    def locked(self, *, skip: bool = False) -> Self:
        """Lock the rows in ascending id until the transaction ends.

        With ``skip``, leave out those that another transaction holds where the database can, and
        wait for them where it cannot: guarded updates keep both right.
        """
        queryset = self.using(self.write_alias)
        features = connections[queryset.db].features
        return queryset.order_by("pk").select_for_update(
            skip_locked=skip and features.has_select_for_update_skip_locked,
            no_key=features.has_select_for_no_key_update,
        )

    @property
    def write_alias(self) -> str:
        """Return the database that the router writes these rows to."""
        self._for_write = True  # what Django's own writing verbs do before they read .db
        return self.db


def in_transaction(operation: Callable[[], Result], *, using: str) -> Result:
    """Run the operation in one transaction, again after a conflict that trying again can mend.

    Inside a transaction of the caller's there is nothing to begin anew: it runs once, in a
    savepoint, and the conflict is the caller's to handle.
    """
    tries_left = 1 if connections[using].in_atomic_block else TRIES
    while True:
        tries_left -= 1
        try:
            with transaction.atomic(using=using):
                return operation()
        except DatabaseError as error:
            if not (tries_left and is_conflict(error)):
                raise
        time.sleep(random.uniform(0.01, 0.05) * (TRIES - tries_left))  # noqa: S311


def is_conflict(error: DatabaseError) -> bool:
    """Say whether the error comes from other transactions, not from this one's statements."""
    match error, error.__cause__:
        case LostRaceError(), _:
            return True
        case _, sqlite3.OperationalError() as cause:
            return (cause.sqlite_errorcode & 0xFF) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        case _, cause if (state := getattr(cause, "sqlstate", None)) is not None:
            return state in CONFLICTS
        case _, cause if cause is not None and cause.args:
            return cause.args[0] in (MYSQL_LOCK_TIMEOUT, MYSQL_DEADLOCK)
    return False
