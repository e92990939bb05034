"""Resolve: somebody says how a failure was settled, without another run."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from functools import partial

from scheduled_tasks.lifecycle.batches import batches
from scheduled_tasks.lifecycle.requeueing import RequeueingQuerySet
from scheduled_tasks.models.sql.any_of import Among
from scheduled_tasks.models.sql.transactions import LostRaceError, in_transaction
from scheduled_tasks.runtime.sanitizing import redacted_text


class ResolvingQuerySet(RequeueingQuerySet):
    """Adds the verb that settles failed executions."""

    def resolve(
        self, ids: Collection[int], now: datetime, *, reason: str, by: str = ""
    ) -> list[int]:
        """Settle failed executions, a batch at a time; return those that waited for somebody.

        Raise ValueError without a reason.
        """

        def operation(batch: Collection[int]) -> list[int]:
            rows = self.using(using).dead().filter(Among("pk", batch))
            found = list(rows.locked().values_list("pk", flat=True))
            settled = self.using(using).dead().filter(Among("pk", found))
            values = {"resolved_at": now, "resolution": redacted_text(said), "resolved_by": by}
            if found and settled.update(**values) != len(found):
                raise LostRaceError("Somebody else resolved an execution meanwhile.")
            return found

        if not (said := reason.strip()):
            raise ValueError("Give a reason: it stays on record as how the failure was settled.")
        using = self.write_alias
        done = [in_transaction(partial(operation, batch), using=using) for batch in batches(ids)]
        return [pk for found in done for pk in found]
