"""What the system checks of this app say."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage
from django.test import override_settings

from scheduled_tasks.checks import database_checks, static_checks


def found(**settings: Any) -> list[CheckMessage]:
    """Return what the checks of this app say under some settings; all of it has a hint."""
    with override_settings(**settings):
        messages = [message for check in (*static_checks, *database_checks) for message in check()]
    for message in messages:
        assert message.hint
        assert str(message.id).startswith("scheduled_tasks.")
    return messages


def ids(**settings: Any) -> list[str]:
    return [str(message.id).rpartition(".")[2] for message in found(**settings)]
