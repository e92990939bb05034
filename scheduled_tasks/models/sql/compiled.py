"""Queries that are compiled once and executed often.

Django takes several times longer to compile a query of a few conditions than to execute it, and a
worker repeats the same ones all day, only with other moments and ids.

This is the one module that relies on internals of Django's ORM: it replaces ``as_sql`` of a copied
compiler and ``get_compiler`` of a copied query. A test names the versions that it was checked with.
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
    """Stands in a query for a value that each call gives."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def as_sql(self, compiler: SQLCompiler, connection: Any) -> Any:
        """Return a placeholder; this object is the parameter."""
        return "%s", [self]


class CompiledQuery(Generic[Row]):
    """A query that Django compiles once for each database.

    ``build`` takes a queryset of all rows and the arguments of a call. The values of the arguments
    named in ``given`` do not change the SQL; those of others may, and each combination of them is
    compiled apart. A list has to be one parameter, so databases other than PostgreSQL compile the
    query at each call.
    """

    def __init__(self, build: Callable[..., models.QuerySet[Any, Row]], *given: str) -> None:
        self.build = build
        self.given = given
        self._compiled: dict[Any, CompiledSql[Row]] = {}

    def rows(self, every: models.QuerySet[Any], **arguments: Any) -> list[Row]:
        """Return what the query finds in the database of ``every``, a queryset of all rows."""
        if connections[every.db].vendor != "postgresql":
            return list(self.build(every, **arguments))
        return self.compiled(every, arguments).rows(arguments)

    def bind(self, every: models.QuerySet[Any], **arguments: Any) -> BoundQuery[Row]:
        """Return the query with its arguments, to be executed later."""
        return BoundQuery(self, every, arguments)

    def compiled(self, every: models.QuerySet[Any], arguments: dict[str, Any]) -> CompiledSql[Row]:
        """Return the compiled query for such arguments."""
        fixed = {name: value for name, value in arguments.items() if name not in self.given}
        # What the backend supports changes the SQL, for example whether rows can be locked.
        key = type(connections[every.db]), every.db, *arguments, *fixed.items()
        if key not in self._compiled:
            stand_ins = {name: Placeholder(name) for name in arguments if name in self.given}
            # Not ``every``: a filter of the first caller would stay in the query of all later ones.
            unfiltered = every.model._default_manager.using(every.db)  # noqa: SLF001
            self._compiled[key] = CompiledSql(self.build(unfiltered, **fixed, **stand_ins))
        return self._compiled[key]


@dataclass(frozen=True, slots=True)
class BoundQuery(Generic[Row]):
    query: CompiledQuery[Row]
    every: models.QuerySet[Any]
    arguments: dict[str, Any]

    @property
    def sql(self) -> Sql:
        made = self.query.compiled(self.every, self.arguments)
        return made.sql, made.parameters(self.arguments)

    @property
    def first(self) -> Row | None:
        """The first result, None for none."""
        return next(iter(self.query.rows(self.every, **self.arguments)), None)


def first_values(*questions: BoundQuery[Any]) -> tuple[Any, ...]:
    """Return the first value of each of these queries, None for none.

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
    """The SQL of a queryset, and its compiler, which converts the rows that the SQL returns."""

    def __init__(self, queryset: models.QuerySet[Any, Row]) -> None:
        self.queryset = queryset
        self.compiler = queryset.query.get_compiler(queryset.db)
        self.sql, self._parameters = self.compiler.as_sql()
        self.compiler.connection = None  # each thread has its own

    def parameters(self, given: dict[str, Any]) -> list[Any]:
        """Return the parameters of the SQL, with the given values in place of placeholders."""
        return [given[p.name] if isinstance(p, Placeholder) else p for p in self._parameters]

    def rows(self, given: dict[str, Any]) -> list[Row]:
        """Execute the query and return the rows as Django converts them."""
        compiler = copy(self.compiler)
        compiler.connection = connections[self.queryset.db]
        # In the copies only, so that threads can execute the query at the same time.
        vars(compiler)["as_sql"] = lambda: (self.sql, self.parameters(given))
        queryset = self.queryset.all()
        vars(queryset.query)["get_compiler"] = lambda *_, **__: compiler
        return list(queryset)
