"""The tasks of the release after."""

from __future__ import annotations

from time import sleep

from scheduled_tasks import TaskContext, scheduled_task
from tests.chaos.journal import attended

EVERY_SLOT_RUNS = {"overlap_policy": "allow", "misfire_policy": "all"}


@scheduled_task("every 1 second", **EVERY_SLOT_RUNS)
def quick(context: TaskContext) -> None:
    """Do nothing."""
    with attended(context):
        pass


@scheduled_task("every 1 second", **EVERY_SLOT_RUNS)
def lasting(context: TaskContext, *, seconds: float = 1.5) -> str:
    """Be in progress whenever a worker is stopped."""
    with attended(context):
        sleep(seconds)
    return "new"


@scheduled_task("every 1 second", **EVERY_SLOT_RUNS)
def added(context: TaskContext) -> None:
    """Do nothing, from this release on."""
    with attended(context):
        pass
