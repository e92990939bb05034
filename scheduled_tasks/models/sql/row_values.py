"""Rows of values as parameters of a statement: all at once, or one execution for each."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from django.db import connections, models

Column = models.Field
#: Columns of the rows that a statement has written; None where the database does not tell.
Returned = list[tuple[Any, ...]] | None


def rows_for(using: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> RowValues:
    kind = JsonRowValues if connections[using].vendor == "postgresql" else RepeatedRowValues
    return kind(using, columns, rows)


class RowValues(ABC):
    """Rows of values, and the pieces of SQL that stand for them in a statement.

    Call the methods in the order in which the pieces stand in the statement: they collect its
    parameters.
    """

    def __init__(
        self, using: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]
    ) -> None:
        self.connection = connections[using]
        self.columns = columns
        self.rows = rows

    def name(self, column: Column) -> str:
        return self.connection.ops.quote_name(str(column.column))

    def table_of(self, model: type[models.Model]) -> str:
        return self.connection.ops.quote_name(model._meta.db_table)  # noqa: SLF001

    @abstractmethod
    def value(self, number: int) -> str:
        """Return the SQL for a column of the rows, by its number."""

    @abstractmethod
    def constant(self, column: Column, value: Any) -> str:
        """Return the SQL for a value that is the same for all rows."""

    @abstractmethod
    def joined(self, by: str) -> str:
        """Return the SQL that joins the rows as a table, "" if they are none."""

    @abstractmethod
    def in_order(self) -> str:
        """Return the clause that keeps the rows in order."""

    @abstractmethod
    def execute(self, sql: str) -> int:
        """Execute the statement for all rows; return how many rows it wrote."""

    @abstractmethod
    def execute_returning(self, sql: str, columns: Sequence[Column]) -> Returned:
        """Execute the statement for all rows; return columns of those it wrote."""


class JsonRowValues(RowValues):
    """All rows in one parameter: PostgreSQL makes a table of JSON.

    A value that all rows share is passed once.
    """

    def __init__(
        self, using: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]
    ) -> None:
        super().__init__(using, columns, rows)
        self._parameters: list[Any] = []
        self._differ = [n for n, column in enumerate(columns) if differ(column, rows, n)]

    def value(self, number: int) -> str:
        """Return the name of a column of that table, or a placeholder."""
        if number in self._differ:
            return f"given.c{number}"
        return self.constant(self.columns[number], self.rows[0][number])

    def constant(self, column: Column, value: Any) -> str:
        self._parameters.append(column.get_db_prep_save(value, self.connection))
        return "%s"

    def joined(self, by: str) -> str:
        """Return the table; its column ``n`` is the number of the row."""
        objects = [
            {"n": position} | {f"c{number}": row[number] for number in self._differ}
            for position, row in enumerate(self.rows)
        ]
        # str() of a moment is what PostgreSQL reads; everything else that is stored is JSON.
        self._parameters.append(json.dumps(objects, default=str))
        types = [f"c{n} {self.columns[n].db_type(self.connection)}" for n in self._differ]
        shape = ", ".join(["n integer", *types])
        # The limit says how many rows there are, which the planner cannot know otherwise.
        rows = f"SELECT * FROM json_to_recordset(%s) AS rows({shape}) LIMIT {len(self.rows)}"  # noqa: S608
        return f"{by} ({rows}) AS given"

    def in_order(self) -> str:
        """Return the clause that sorts them by number."""
        return "ORDER BY given.n"

    def execute(self, sql: str) -> int:
        """Execute the statement once."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, self._parameters)
            return int(cursor.rowcount)

    def execute_returning(self, sql: str, columns: Sequence[Column]) -> Returned:
        """Execute the statement once, and fetch what it returns."""
        if not columns:
            self.execute(sql)
            return None
        with self.connection.cursor() as cursor:
            names = ", ".join(self.name(column) for column in columns)
            cursor.execute(f"{sql} RETURNING {names}", self._parameters)
            return list(cursor.fetchall())


def differ(column: Column, rows: Sequence[Sequence[Any]], number: int) -> bool:
    """Whether rows have different values in a column; JSON values compare by identity."""
    first = rows[0][number]
    if isinstance(column, models.JSONField):  # true equals 1 in Python, and is another value
        return any(row[number] is not first for row in rows)
    return any(row[number] != first for row in rows)


class RepeatedRowValues(RowValues):
    """The statement executed once for each row, with the row as its parameters."""

    def __init__(
        self, using: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]
    ) -> None:
        super().__init__(using, columns, rows)
        self._parameters: list[list[Any]] = [[] for _ in rows]

    def value(self, number: int) -> str:
        """Return a placeholder for the value of each row."""
        column = self.columns[number]
        for row, parameters in zip(self.rows, self._parameters, strict=True):
            parameters.append(column.get_db_prep_save(row[number], self.connection))
        return "%s"

    def constant(self, column: Column, value: Any) -> str:
        """Return a placeholder for the same value every time."""
        prepared = column.get_db_prep_save(value, self.connection)
        for parameters in self._parameters:
            parameters.append(prepared)
        return "%s"

    def joined(self, by: str) -> str:
        """Return "": they are no table."""
        return ""

    def in_order(self) -> str:
        """Return "": they are executed in order."""
        return ""

    def execute(self, sql: str) -> int:
        """Execute the statement for one row after the other."""
        with self.connection.cursor() as cursor:
            # Django connects to MySQL with FOUND_ROWS: rows that had the values already count.
            cursor.executemany(sql, self._parameters)
            return int(cursor.rowcount)

    def execute_returning(self, sql: str, columns: Sequence[Column]) -> Returned:
        """Execute the statement for one row after the other, which returns nothing."""
        self.execute(sql)
        return None
