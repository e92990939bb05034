"""The operations on heartbeats: send a test."""

from __future__ import annotations

from scheduled_tasks.exceptions import NotSent
from scheduled_tasks.monitoring.heartbeats import sending
from scheduled_tasks.monitoring.heartbeats.services import addressed
from scheduled_tasks.monitoring.notifiers.errors import error_text
from scheduled_tasks.operations.tasks import get_task
from scheduled_tasks.outgoing.target import Target


def send_test_heartbeat(name: str) -> tuple[str, bool]:
    """Send a test to the heartbeat URL of the task with this name, at once and without a worker.

    Return the origin of the service, and whether it has taken the test: a service that knows
    nothing but reports of runs is only connected to. Raise UnknownTask, and NotSent with the
    reason if the service cannot be told.
    """
    task = get_task(name)
    if not task.heartbeat_url:
        raise NotSent("It has no heartbeat_url.")
    try:
        was_told = sending.send_test(task.heartbeat_url)
        return str(Target.of(addressed(task.heartbeat_url)[1])), was_told
    except Exception as error:
        raise NotSent(error_text(error)) from error
