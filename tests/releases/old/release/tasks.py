"""The tasks of the release before."""

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
def lasting(context: TaskContext) -> str:
    """Be in progress whenever a worker is stopped."""
    with attended(context):
        sleep(1.5)
    return "old"


@scheduled_task("every 1 second")
def removed(context: TaskContext) -> None:
    """Do nothing, until the next release."""
    with attended(context):
        pass
