"""INSERTs and UPDATEs of many rows of different values.

PostgreSQL takes all rows of a call as a table, in one statement; elsewhere one statement is
executed once for each row. Django's bulk_update builds a CASE of every value and cannot guard row
by row, its bulk_create sends every column of every row: each costs several times as much.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import connections, models
from django.db.models.constants import OnConflict

Values = Mapping[str, Any]
Column = models.Field


def update_each(
    model: type[models.Model], rows: Iterable[tuple[Values, Values]], *, using: str
) -> int:
    """Write ``(values, guard)`` pairs, all with the same keys; return how many rows matched.

    Keys are column attributes (``task_id``, ``status``). A row is written only if it matches its
    guard, so that a statement can tell what was read from what has changed since.
    """
    pairs = list(rows)
    if not pairs:
        return 0
    new, old = columns_of(model, pairs[0][0]), columns_of(model, pairs[0][1])
    given = rows_for(using, [*new, *old], [[*v.values(), *g.values()] for v, g in pairs])
    table = given.table_of(model)
    changes = [f"{given.name(c)} = {given.value(n)}" for n, c in enumerate(new)]
    source = given.joined("FROM")
    matches = [f"{table}.{given.name(c)} = {given.value(n)}" for n, c in enumerate(old, len(new))]
    return given.execute(
        f"UPDATE {table} SET {', '.join(changes)} {source} WHERE {' AND '.join(matches)}"  # noqa: S608
    )


def insert_copies(
    key: models.ForeignKey,
    rows: Sequence[Values],
    *,
    copied: Mapping[str, str],
    shared: Values,
    using: str,
    returning: Sequence[str] = (),
) -> list[tuple[Any, ...]] | None:
    """Insert rows, in order, that copy columns of the rows that their foreign key refers to.

    Return the columns ``returning`` of what was inserted, None where that is not told.

    ``rows`` hold the key first, then what differs besides; ``copied`` says which columns come from
    which; ``shared`` is the same for all, and every other column gets its default. A row that
    breaks a unique constraint is left out, and one that refers to nothing.
    """
    if not rows:
        return []
    model, origin = key.model, key.related_model
    own = columns_of(model, rows[0])
    given = rows_for(using, own, [list(row.values()) for row in rows])
    source = given.table_of(origin)
    values = {c.attname: given.value(n) for n, c in enumerate(own)}
    for name, column in zip(copied, columns_of(origin, copied.values()), strict=True):
        values[name] = f"{source}.{given.name(column)}"
    for column in model._meta.concrete_fields:  # noqa: SLF001
        if column.attname not in values and not column.primary_key:
            default = shared.get(column.attname, column.get_default())
            values[column.attname] = given.constant(column, default)
    names = ", ".join(given.name(column) for column in columns_of(model, values))
    more = given.joined(",")
    matches = f"{source}.{given.name(origin._meta.pk)} = {given.value(0)}"  # noqa: SLF001
    ops = connections[using].ops
    insert = ops.insert_statement(on_conflict=OnConflict.IGNORE)
    or_leave = ops.on_conflict_suffix_sql([], OnConflict.IGNORE, [], [])
    return given.execute_returning(
        f"{insert} {given.table_of(model)} ({names}) SELECT {', '.join(values.values())} "  # noqa: S608
        f"FROM {source} {more} WHERE {matches} {given.in_order()} {or_leave}",
        columns_of(model, returning),
    )


def columns_of(model: type[models.Model], names: Iterable[str]) -> list[Column]:
    fields = {field.attname: field for field in model._meta.concrete_fields}  # noqa: SLF001
    return [fields[name] for name in names]


def rows_for(using: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> GivenRows:
    kind = RowsTogether if connections[using].vendor == "postgresql" else RowsApart
    return kind(using, columns, rows)


class GivenRows(ABC):
    """Rows of values as one statement takes them: the pieces of SQL that stand for them.

    The pieces must be asked for in the order in which they stand in the statement.
    """

    def __init__(
        self, using: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]
    ) -> None:
        self.connection = connections[using]
        self.columns = columns
        self.rows = rows

    def name(self, column: Column) -> str:
        """Return the name of a column."""
        return self.connection.ops.quote_name(str(column.column))

    def table_of(self, model: type[models.Model]) -> str:
        """Return the name of a model's table."""
        return self.connection.ops.quote_name(model._meta.db_table)  # noqa: SLF001

    @abstractmethod
    def value(self, number: int) -> str:
        """Return what stands for a column of the rows, by its number."""

    @abstractmethod
    def constant(self, column: Column, value: Any) -> str:
        """Return what stands for a value that is the same for all rows."""

    @abstractmethod
    def joined(self, by: str) -> str:
        """Return the rows as one more table of the statement, where they are one."""

    @abstractmethod
    def in_order(self) -> str:
        """Return what keeps the rows in their order."""

    @abstractmethod
    def execute(self, sql: str) -> int:
        """Execute the statement for all rows; return how many rows it wrote."""

    @abstractmethod
    def execute_returning(self, sql: str, columns: Sequence[Column]) -> list[tuple[Any, ...]] | None:
        """Execute the statement for all rows; return columns of those it wrote, None for unknown."""


class RowsTogether(GivenRows):
    """All rows in one parameter: PostgreSQL makes a table of JSON.

    What is the same in all of them is said once.
    """

    def __init__(
        self, using: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]
    ) -> None:
        super().__init__(using, columns, rows)
        self._parameters: list[Any] = []
        first = rows[0]
        self._differ = [
            number
            for number in range(len(columns))
            if any(row[number] != first[number] for row in rows)
        ]

    def value(self, number: int) -> str:
        """Return the name of a column of that table, or a placeholder."""
        if number in self._differ:
            return f"given.c{number}"
        return self.constant(self.columns[number], self.rows[0][number])

    def constant(self, column: Column, value: Any) -> str:
        """Return a placeholder."""
        self._parameters.append(column.get_db_prep_save(value, self.connection))
        return "%s"

    def joined(self, by: str) -> str:
        """Return the table; ``n`` is the number of each of its rows."""
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

    def execute_returning(self, sql: str, columns: Sequence[Column]) -> list[tuple[Any, ...]] | None:
        """Execute the statement once, and fetch what it returns."""
        if not columns:
            self.execute(sql)
            return None
        with self.connection.cursor() as cursor:
            names = ", ".join(self.name(column) for column in columns)
            cursor.execute(f"{sql} RETURNING {names}", self._parameters)
            return list(cursor.fetchall())


class RowsApart(GivenRows):
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
        """Return nothing: they are no table."""
        return ""

    def in_order(self) -> str:
        """Return nothing: they are executed in order."""
        return ""

    def execute(self, sql: str) -> int:
        """Execute the statement for one row after the other."""
        with self.connection.cursor() as cursor:
            cursor.executemany(sql, self._parameters)
            return int(cursor.rowcount)

    def execute_returning(self, sql: str, columns: Sequence[Column]) -> list[tuple[Any, ...]] | None:  # noqa: ARG002
        """Execute the statement for one row after the other, which returns nothing."""
        self.execute(sql)
        return None
