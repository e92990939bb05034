"""What a dialect is: the requests by which one kind of service is told of a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any

from scheduled_tasks.exceptions import OutgoingError
from scheduled_tasks.models.delivery import Delivery
from scheduled_tasks.outgoing.exchange import Response

Event = Delivery.Event

#: The answers of 400 to 499 that may change by themselves.
TEMPORARY = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What is said of a run, as the outbox keeps it: at its start only which one it is.

    ``text`` says why it ended so; ``log`` is the end of its log, for services that take it.
    ``task_name`` is for the log of the worker: services have names of their own.
    """

    execution_id: int
    task_name: str = ""
    status: str = ""
    attempts: int = 0
    duration_ms: int | None = None
    text: str = ""
    log: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the body of a Delivery; ``Report(**body)`` is its inverse."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Request:
    """A request that a service understands."""

    url: str
    method: str = "GET"
    body: bytes | None = None


class Dialect(ABC):
    """How one kind of service is told. ``url`` is the address of one monitor of that service."""

    #: The events that the service is told.
    events: tuple[str, ...] = (Event.START, Event.SUCCESS, Event.FAIL)
    #: Whether the ends of runs come with the end of the log.
    takes_log = False

    @abstractmethod
    def request(self, url: str, event: str, report: Report) -> Request:
        """Return the request that reports an event of a run."""

    def sign_of_life(self, url: str) -> Request:
        """Return the request that says no more than that the sender works."""
        return Request(url)

    def test(self, url: str) -> Request | None:
        """Return a request that changes no state of a check, None if the service has none."""
        return None

    def check(self, response: Response) -> None:
        """Raise OutgoingError if the service has not taken the request."""
        if HTTPStatus(200) <= response.status < HTTPStatus.MULTIPLE_CHOICES:
            return
        refused = response.status < HTTPStatus.INTERNAL_SERVER_ERROR
        raise OutgoingError(
            f"The service answered with status {response.status}.",
            permanent=refused and response.status not in TEMPORARY,
        )
