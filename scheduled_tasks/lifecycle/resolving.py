"""Resolve: close a dead letter without another run."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from scheduled_tasks.exceptions import InvalidTask
from scheduled_tasks.lifecycle.batches import batches
from scheduled_tasks.lifecycle.transitions import SETTLED_MEANWHILE
from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.transactions import LostRaceError, transactional, write_alias
from scheduled_tasks.models.storable import refuse_unstorable
from scheduled_tasks.runtime.sanitizing import redacted_text


def resolve(ids: Collection[int], now: datetime, *, reason: str, by: str = "") -> list[int]:
    """Resolve dead letters, one batch per transaction; return those that were unresolved.

    Raise InvalidTask without a reason, or if it cannot be recorded.
    """
    refuse_unstorable(reason=reason, by=by)
    if not (reason := reason.strip()):
        said = "Give a reason: it is recorded as how the failure was resolved."
        raise InvalidTask({"reason": [said]})
    using = write_alias()
    values = {"resolved_at": now, "resolution": redacted_text(reason), "resolved_by": by}
    return [pk for batch in batches(ids) for pk in resolve_batch(batch, values, using=using)]


@transactional
def resolve_batch(ids: Collection[int], values: dict[str, object], *, using: str) -> list[int]:
    # No state is locked: what is known of the task does not change.
    dead = Execution.objects.using(using).dead()
    found = list(dead.filter(AnyOf("pk", ids)).locked().values_list("pk", flat=True))
    if found and dead.filter(AnyOf("pk", found)).update(**values) != len(found):
        raise LostRaceError(SETTLED_MEANWHILE)
    return found
