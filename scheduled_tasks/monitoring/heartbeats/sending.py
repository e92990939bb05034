"""Send heartbeats. Whatever they say is known by then, so no database is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from scheduled_tasks.exceptions import OutgoingError, PermanentError
from scheduled_tasks.monitoring.heartbeats.dialects import Dialect, Report, Request
from scheduled_tasks.monitoring.heartbeats.services import addressed
from scheduled_tasks.outgoing import sending as outgoing

#: Seconds that one request may take in all.
TIMEOUT = 10.0
#: The bytes of an answer that are read.
MAX_ANSWER_LENGTH = 1_000
TEXT = {"Content-Type": "text/plain; charset=utf-8"}


def send(target: str, event: str, body: Mapping[str, Any]) -> None:
    """Send a Delivery of the transport ``heartbeat``: its target, its event and its body.

    Raise PermanentError if another attempt cannot help, and OutgoingError if it may.
    """
    with permanent_errors():
        dialect, url = addressed(target)
        deliver(dialect, dialect.request(url, event, Report(**body)))


def send_sign_of_life(target: str) -> None:
    """Say that a scheduler works. Raise like ``send``."""
    with permanent_errors():
        dialect, url = addressed(target)
        deliver(dialect, dialect.sign_of_life(url))


def send_test(target: str) -> bool:
    """Send what changes no state of a check, and return True; raise like ``send``.

    Where every request reports a run, only connect to the service, and return False.
    """
    with permanent_errors():
        dialect, url = addressed(target)
        request = dialect.test(url)
        if request is None:
            outgoing.connect(url, timeout=TIMEOUT)
        else:
            deliver(dialect, request)
        return request is not None


def deliver(dialect: Dialect, request: Request) -> None:
    response = outgoing.send(
        request.method,
        request.url,
        headers=TEXT if request.body else None,
        body=request.body,
        timeout=TIMEOUT,
        max_bytes=MAX_ANSWER_LENGTH,
    )
    dialect.check(response)


@contextmanager
def permanent_errors() -> Iterator[None]:
    """Raise PermanentError, as notifiers do, for an OutgoingError that is permanent."""
    try:
        yield
    except OutgoingError as error:
        if error.permanent:
            raise PermanentError(str(error)) from error
        raise
