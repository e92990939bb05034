"""What the model of the rules works out from a task alone."""

from __future__ import annotations

from datetime import datetime, timedelta

from tests.policies.records import Execution, Task


def caught_up(task: Task, misfires: list[datetime]) -> list[datetime]:
    """Return the misfires that go on to the overlap policy."""
    match task.misfire_policy:
        case "once":
            return misfires[-1:]
        case "all":
            return misfires[-task.catch_up_limit :]
    return []


def overlap_policy(task: Task, trigger: str) -> str:
    """Return the policy that a slot goes by: what "all" catches up was asked for."""
    asked_for = trigger == "catch_up" and task.misfire_policy == "all"
    if asked_for and task.overlap_policy in ("skip", "buffer_one"):
        return "buffer_all"
    return task.overlap_policy


def too_late(execution: Execution, now: datetime) -> bool:
    grace = execution.task.misfire_grace
    assert execution.run_after is not None
    return grace is not None and now - execution.run_after > timedelta(seconds=grace)


def is_late(task: Task, trigger: str, lost: tuple[str, str] | None) -> bool:
    """Say whether a slot is missed: it is called so, or it runs late without a grace for that."""
    if lost is not None:
        return lost[0] == "missed"
    return trigger == "catch_up" and task.misfire_grace is None


def retry_delay(task: Task, failures: int) -> timedelta:
    """Return the least time before the next attempt after so many failures."""
    seconds = task.retry_delay * task.retry_backoff ** (failures - 1)
    return timedelta(seconds=min(seconds, task.retry_max_delay))
