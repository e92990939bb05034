"""INSERTs and UPDATEs of many rows with different values.

PostgreSQL takes all rows of a call as a table, in one statement; other databases execute the
statement once for each row. Django's bulk_update builds a CASE of every value and cannot guard row
by row, its bulk_create sends every column of every row: each costs several times as much.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import connections, models
from django.db.models.constants import OnConflict

from scheduled_tasks.models.sql.row_values import Column, Returned, rows_for

Values = Mapping[str, Any]


def update_each(
    model: type[models.Model], rows: Iterable[tuple[Values, Values]], *, using: str
) -> int:
    """Write ``(values, guard)`` pairs, all with the same keys; return how many rows matched.

    Keys are column attributes (``task_id``, ``status``). A row is written only if it still matches
    its guard: the values that were read before.
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
) -> Returned:
    """Insert rows, in order, that copy columns of the rows that their foreign key refers to.

    Return the columns ``returning`` of what was inserted, None where the database cannot.

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
    # A join leaves out a row whose task was deleted, where VALUES would break the foreign key.
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
