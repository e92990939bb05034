"""Delete executions that no worker holds, one batch per transaction."""

from __future__ import annotations

from collections.abc import Collection

from scheduled_tasks.lifecycle.batches import batches
from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.transactions import transactional, write_alias


def delete_executions(ids: Collection[int]) -> list[int]:
    """Delete executions with their logs and attempts; return the ids of those that this deleted.

    Running ones stay: their worker could not record how they end.
    """
    using = write_alias()
    return [pk for batch in batches(ids) for pk in delete_batch(batch, using=using)]


@transactional
def delete_batch(ids: Collection[int], *, using: str) -> list[int]:
    everything = Execution.objects.using(using)
    idle = everything.filter(AnyOf("pk", ids)).exclude(status=Execution.Status.RUNNING)
    found = list(idle.locked().values_list("pk", flat=True))
    # Only the key, although the rows are large: the deletion has to look for what refers to them.
    idle.filter(AnyOf("pk", found)).only("pk").delete()
    return found
