"""Which errors of a database mean that another transaction was in the way."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, IntegrityError, OperationalError

from scheduled_tasks.models.sql.transactions import is_conflict

pytestmark = pytest.mark.without_database


class MySQLError(Exception):
    """As the drivers of MySQL and MariaDB raise it: the number comes first."""


def raised(kind: type[DatabaseError], number: int) -> DatabaseError:
    error = kind(number, "said by the server")
    error.__cause__ = MySQLError(number, "said by the server")
    return error


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        (OperationalError, 1205),
        (OperationalError, 1213),
        (OperationalError, 1020),
        (IntegrityError, 1451),
        (IntegrityError, 1452),
    ],
)
def test_conflicts_of_mysql_are_retried(kind: type[DatabaseError], number: int) -> None:
    assert is_conflict(raised(kind, number))


@pytest.mark.parametrize("number", [1062, 1146, 2006])
def test_other_errors_of_mysql_are_not(number: int) -> None:
    assert not is_conflict(raised(IntegrityError, number))
