"""The policies that code may set: their names as options, and the types of their values.

Each has a column with the same name in models/policies.py or models/alert_policies.py, with its
default and its help text. The exception is ``retry``, which stands for four columns. A test
compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any, TypedDict, get_args, get_type_hints

from scheduled_tasks.handlers.retries import Retry

#: Whole numbers; code may give seconds as a timedelta.
Seconds = Annotated[int | timedelta, "seconds"]
Megabytes = Annotated[int, "megabytes"]
Days = Annotated[int, "days"]
Count = Annotated[int, "count"]


class PolicyOptions(TypedDict, total=False):
    """Where and when a task runs, what happens when it fails, is late or overlaps, who is told."""

    #: Only workers that serve this queue run the task.
    queue: str
    #: Higher runs first.
    priority: int
    #: "process" or "thread"; by default the worker's choice.
    executor: str
    #: After this time a run is asked to stop, and killed if it does not.
    timeout: Seconds | None
    #: What a run and its child processes may use above what it started with.
    memory_limit_mb: Megabytes | None
    #: True, a number of retries, or a Retry.
    retry: Retry | int
    #: "retry" or "fail": what happens to a run whose worker died.
    on_lost: str
    #: How many times such a run is run again.
    max_losses: int
    #: "once", "skip" or "all": what happens to slots that came while no scheduler was running.
    misfire_policy: str
    #: After this time a slot is no longer run.
    misfire_grace: Seconds | None
    #: The maximum number of slots to catch up, or to let wait.
    catch_up_limit: int
    #: "skip", "buffer_one", "buffer_all", "cancel_other" or "allow": what happens to a slot while
    #: an earlier execution has not finished.
    overlap_policy: str
    #: Each run starts up to this much later, at random.
    jitter: Seconds
    #: There are slots only between these.
    starts_at: datetime | None
    ends_at: datetime | None
    #: The conditions that raise alerts, and "success"; by default those of the settings.
    notify_on: list[str] | None
    #: "warning", "error" or "critical": the severity of alerts, by default that of the condition.
    severity: str
    #: Failures in a row that raise an alert.
    alert_after_failures: Count | None
    #: A slot that has not begun by then raises an alert.
    start_within: Seconds | None
    #: The longest time without a success.
    no_success_for: Seconds | None
    #: A run that takes longer raises an alert, and goes on.
    max_runtime: Seconds | None
    #: An open alert is sent again this often.
    remind_every: Seconds | None
    #: The address that hears of each start, success and failure.
    heartbeat_url: str
    #: How long executions, and the lines of their logs, are kept.
    retention_days: Days | None
    log_retention_days: Days | None
    #: The newest executions that are kept however old they are.
    keep_last: Count | None


def kinds() -> Iterator[tuple[str, Any]]:
    """Yield each policy with each type that its value may have."""
    for name, hint in get_type_hints(PolicyOptions, include_extras=True).items():
        for kind in (hint, *get_args(hint)):
            yield name, kind


#: The policies that are whole numbers, and those of the columns of ``retry``, with their units.
UNITS: dict[str, str] = {
    name: kind.__metadata__[0] for name, kind in kinds() if hasattr(kind, "__metadata__")
} | {"retry_delay": "seconds", "retry_max_delay": "seconds"}
#: The policies that hold a moment.
MOMENTS = tuple(name for name, kind in kinds() if kind is datetime)
