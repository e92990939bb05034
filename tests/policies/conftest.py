"""What both drivers need: the handlers of their tasks, and a log that does not drown a story."""

from __future__ import annotations

import logging

import pytest

from scheduled_tasks.handlers.registry import HandlerRegistry
from tests.policies.world import register_handlers


@pytest.fixture(autouse=True)
def handlers(registry: HandlerRegistry) -> None:
    register_handlers()


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Keep out of the report what the engine logs of thousands of runs."""
    caplog.set_level(logging.CRITICAL, logger="scheduled_tasks")
