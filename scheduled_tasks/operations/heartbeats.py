"""The operations on heartbeats: send a test."""

from __future__ import annotations

from scheduled_tasks.conf import app_settings
from scheduled_tasks.exceptions import NotSent
from scheduled_tasks.monitoring.heartbeats import sending
from scheduled_tasks.monitoring.heartbeats.services import addressed
from scheduled_tasks.monitoring.notifiers.errors import error_text
from scheduled_tasks.operations.tasks import get_task
from scheduled_tasks.outgoing.target import Target


def send_test_heartbeat(name: str | None) -> tuple[str, bool]:
    """Send a test to the heartbeat URL of the task with this name, at once and without a worker.

    None stands for the scheduler itself, whose heartbeat goes to HEARTBEAT_URL. Return the origin
    of the service, and whether it has taken the test: a service that knows nothing but reports of
    runs is only connected to. Raise UnknownTask, and NotSent with the reason if the service cannot
    be told.
    """
    heartbeat_url = url_of_scheduler() if name is None else url_of_task(name)
    try:
        was_told = sending.send_test(heartbeat_url)
        return str(Target.of(addressed(heartbeat_url)[1])), was_told
    except Exception as error:
        raise NotSent(error_text(error)) from error


def url_of_scheduler() -> str:
    if url := app_settings.HEARTBEAT_URL:
        return url
    raise NotSent("SCHEDULED_TASKS['HEARTBEAT_URL'] is not set: give it the address of a check.")


def url_of_task(name: str) -> str:
    if url := get_task(name).heartbeat_url:
        return url
    raise NotSent("It has no heartbeat_url.")
