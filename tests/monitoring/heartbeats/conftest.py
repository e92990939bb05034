"""A service that hears, and an outbox that sends to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import LazySettings

from tests.monitoring.heartbeats.service import Service, running_service


@pytest.fixture
def service(settings: LazySettings) -> Iterator[Service]:
    """Run a service that may be reached although it is on this host."""
    settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, "OUTGOING_ALLOW": ["127.0.0.1"]}
    with running_service() as service:
        yield service
