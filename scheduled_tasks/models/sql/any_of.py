"""A test for many ids that costs as little as a test for one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db.models import F
from django.db.models.lookups import In

from scheduled_tasks.models.sql.compiled import Placeholder


class AnyOf(In):
    """``name IN (…)``, with all the ids in one parameter where the database takes an array.

    Hundreds of placeholders cost more than the statement itself. Pass it to ``filter``. It takes
    plain numbers, strings and UUIDs only, or a placeholder for a list of them.
    """

    def __init__(
        self, name: str, ids: Collection[int] | Collection[str] | Collection[UUID] | Placeholder
    ) -> None:
        super().__init__(F(name), ids if isinstance(ids, Placeholder) else list(ids))

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        """Return the SQL of a comparison with any element of an array."""
        column, parameters = self.process_lhs(compiler, connection)
        # The driver passes a list as one array.
        return f"{column} = ANY(%s)", [*parameters, self.rhs]
