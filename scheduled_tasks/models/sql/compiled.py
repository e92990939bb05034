"""Queries that are built once and executed often.

To build a query of a few conditions costs Django several times what it costs to send one, and a
worker sends the same ones all day long, only about other moments and ids.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db import connections, models
from django.db.models.expressions import Expression
from django.db.models.sql.compiler import SQLCompiler

Row = TypeVar("Row")
Sql = tuple[str, list[Any]]


class Placeholder(Expression):
    """What stands in a query for a value that each call gives."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def as_sql(self, compiler: SQLCompiler, connection: Any) -> Any:
        """Return a placeholder, with itself as the parameter."""
        return "%s", [self]


class CompiledQuery(Generic[Row]):
    """A query of which Django makes the SQL once for each database.

    ``build`` takes a queryset of all rows, the arguments named in ``given``, of which the values
    do not change the SQL, and others, which may. That needs a database that takes a list as one
    parameter; on any but PostgreSQL the query is built each time.
    """

    def __init__(self, build: Callable[..., models.QuerySet[Any, Row]], *given: str) -> None:
        self.build = build
        self.given = given
        self._compiled: dict[Any, CompiledSql[Row]] = {}

    def rows(self, every: models.QuerySet[Any], **arguments: Any) -> list[Row]:
        """Return what the query finds among ``every`` row of a database."""
        if connections[every.db].vendor != "postgresql":
            return list(self.build(every, **arguments))
        return self.compiled(every, arguments).rows(arguments)

    def bind(self, every: models.QuerySet[Any], **arguments: Any) -> BoundQuery[Row]:
        """Return the query with its arguments, to be asked with others."""
        return BoundQuery(self, every, arguments)

    def compiled(self, every: models.QuerySet[Any], arguments: dict[str, Any]) -> CompiledSql[Row]:
        """Return the query as it was made for such arguments."""
        fixed = {name: value for name, value in arguments.items() if name not in self.given}
        key = every.db, *arguments, *fixed.items()
        if key not in self._compiled:
            stand_ins = {name: Placeholder(name) for name in arguments if name in self.given}
            unfiltered = every.model._default_manager.using(every.db)  # noqa: SLF001
            self._compiled[key] = CompiledSql(self.build(unfiltered, **fixed, **stand_ins))
        return self._compiled[key]


@dataclass(frozen=True, slots=True)
class BoundQuery(Generic[Row]):
    """A query and what it is about."""

    query: CompiledQuery[Row]
    every: models.QuerySet[Any]
    arguments: dict[str, Any]

    @property
    def sql(self) -> Sql:
        """Return the SQL and its parameters."""
        made = self.query.compiled(self.every, self.arguments)
        return made.sql, made.parameters(self.arguments)

    @property
    def first(self) -> Row | None:
        """Return what it finds first, None for nothing."""
        return next(iter(self.query.rows(self.every, **self.arguments)), None)


def first_values(*questions: BoundQuery[Any]) -> tuple[Any, ...]:
    """Return what each of these queries for one value finds, None for nothing.

    On PostgreSQL that is one statement.
    """
    connection = connections[questions[0].every.db]
    if connection.vendor != "postgresql":
        return tuple(question.first for question in questions)
    parts = [question.sql for question in questions]
    parameters = [parameter for _, given in parts for parameter in given]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(f'({sql})' for sql, _ in parts)}", parameters)
        return tuple(cursor.fetchone())


class CompiledSql(Generic[Row]):
    """A queryset with its SQL."""

    def __init__(self, queryset: models.QuerySet[Any, Row]) -> None:
        self.queryset = queryset
        self.compiler = queryset.query.get_compiler(queryset.db)
        self.sql, self._parameters = self.compiler.as_sql()
        self.compiler.connection = None  # each thread has its own

    def parameters(self, given: dict[str, Any]) -> list[Any]:
        """Return the parameters of the SQL, with what is given in its places."""
        return [given[p.name] if isinstance(p, Placeholder) else p for p in self._parameters]

    def rows(self, given: dict[str, Any]) -> list[Row]:
        """Execute the query and return what Django makes of the rows."""
        compiler = copy(self.compiler)
        compiler.connection = connections[self.queryset.db]
        vars(compiler)["as_sql"] = lambda: (self.sql, self.parameters(given))
        queryset = self.queryset.all()
        vars(queryset.query)["get_compiler"] = lambda *_, **__: compiler
        return list(queryset)
