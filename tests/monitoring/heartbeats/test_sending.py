"""What an answer means: delivered, later again, or never."""

from __future__ import annotations

import pytest
from django.conf import LazySettings

from scheduled_tasks.exceptions import OutgoingError, PermanentError
from scheduled_tasks.monitoring.heartbeats.dialects import Report
from scheduled_tasks.monitoring.heartbeats.sending import send, send_sign_of_life
from tests.monitoring.heartbeats.service import Service

pytestmark = pytest.mark.without_database

START = Report(execution_id=42).as_json()


def test_what_is_taken_is_delivered(service: Service) -> None:
    send(service.url, "start", START)
    send_sign_of_life(service.url)
    assert service.kinds == ["start", "success"]
    assert [ping.run is None for ping in service.pings] == [False, True]


@pytest.mark.parametrize(
    ("status", "text"),
    [(500, b""), (503, b""), (429, b""), (408, b""), (200, b"OK (rate limited)")],
)
def test_what_may_help_later_is_tried_again(status: int, text: bytes, service: Service) -> None:
    service.answers = [(status, text)]
    with pytest.raises(OutgoingError) as refused:
        send(service.url, "start", START)
    assert not refused.value.permanent


@pytest.mark.parametrize(
    ("status", "text"),
    [(404, b""), (400, b""), (409, b""), (410, b""), (301, b""), (200, b"OK (not found)")],
)
def test_what_never_helps_is_permanent(status: int, text: bytes, service: Service) -> None:
    service.answers = [(status, text)]
    with pytest.raises(PermanentError) as refused:
        send(service.url, "start", START)
    assert str(service.check) not in str(refused.value)


def test_a_service_that_is_gone_is_tried_again(service: Service) -> None:
    service.server.server_close()
    with pytest.raises(OutgoingError) as refused:
        send(service.url, "start", START)
    assert not refused.value.permanent


def test_an_address_inside_has_to_be_allowed(service: Service, settings: LazySettings) -> None:
    settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, "OUTGOING_ALLOW": []}
    for attempt in (
        lambda: send(service.url, "start", START),
        lambda: send_sign_of_life(service.url),
    ):
        with pytest.raises(PermanentError, match="OUTGOING_ALLOW"):
            attempt()
    assert service.requests == []
