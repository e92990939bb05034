"""Checks of the settings: SCHEDULED_TASKS, its notifiers and alerts, and time zones."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.files.storage import storages

from scheduled_tasks.conf import load, web_address_in
from scheduled_tasks.exceptions import InvalidSettings, OutgoingError
from scheduled_tasks.mistakes import Mistakes
from scheduled_tasks.outgoing.addresses import refuse_at_sight
from scheduled_tasks.runtime.failures import short_text
from scheduled_tasks.runtime.sanitizing import redacted_text


def check_settings(**_: Any) -> list[CheckMessage]:
    """Check the SCHEDULED_TASKS setting."""
    mistakes = Mistakes()
    with mistakes.collected():
        loaded = load()
        with mistakes.collected():
            refuse_address(loaded.LISTEN_DSN)
        with mistakes.collected():
            refuse_storage(loaded.ARCHIVE_STORAGE)
        with mistakes.collected():
            refuse_heartbeat(loaded.HEARTBEAT_URL)
    return [
        Error(
            sentence,
            hint="Fix or remove the key in the SCHEDULED_TASKS setting.",
            id="scheduled_tasks.E001",
        )
        for sentence in mistakes.sentences
    ]


def refuse_address(address: str) -> None:
    """Raise InvalidSettings for an address that psycopg cannot read, if psycopg is installed."""
    if not address:  # psycopg takes long to import, and other databases do without it
        return
    try:
        from psycopg import ProgrammingError, conninfo  # noqa: PLC0415 -- an extra
    except ImportError:
        return
    try:
        conninfo.conninfo_to_dict(address)
    except ProgrammingError:  # its text quotes the address, which may hold a password
        raise InvalidSettings(
            "SCHEDULED_TASKS['LISTEN_DSN'] is not a valid PostgreSQL address."
        ) from None


def refuse_storage(alias: str) -> None:
    """Raise InvalidSettings for an alias that STORAGES does not have, or that cannot be made."""
    if not alias:
        return
    if alias not in storages.backends:
        raise InvalidSettings(
            f"SCHEDULED_TASKS['ARCHIVE_STORAGE'] is {alias!r}, but STORAGES has only "
            f"{', '.join(map(repr, storages.backends))}."
        )
    try:
        storages[alias]
    except Exception as error:  # noqa: BLE001 -- a bad name, or whatever its class raises
        said = redacted_text(short_text(error)).rstrip(".")
        raise InvalidSettings(
            f"SCHEDULED_TASKS['ARCHIVE_STORAGE'] is {alias!r}, but that entry of STORAGES cannot "
            f"be used: {said}."
        ) from None


def refuse_heartbeat(url: str) -> None:
    """Raise InvalidSettings for a HEARTBEAT_URL that no request may reach; resolve no name."""
    if not url:
        return
    try:
        refuse_at_sight(web_address_in(url))
    except OutgoingError as error:
        raise InvalidSettings(f"SCHEDULED_TASKS['HEARTBEAT_URL'] cannot be used: {error}") from None


def check_notifiers(**_: Any) -> list[CheckMessage]:
    """Check that each notifier of the NOTIFIERS setting can be made."""
    mistakes = Mistakes()
    if uses("NOTIFIERS"):
        # It imports what sends mail and HTTP, which most processes do not need.
        from scheduled_tasks.monitoring.notifiers.loading import load_notifiers  # noqa: PLC0415

        with mistakes.collected():
            load_notifiers()
    return [
        Error(
            sentence,
            hint="Fix or remove the notifier in the SCHEDULED_TASKS setting.",
            id="scheduled_tasks.E011",
        )
        for sentence in mistakes.sentences
    ]


def check_alerts(**_: Any) -> list[CheckMessage]:
    """Check which conditions raise alerts, and who is told of them."""
    mistakes = Mistakes()
    if uses("CONDITIONS", "ALERTS"):
        # They need loaded apps.
        from scheduled_tasks.monitoring.alerts.condition_settings import condition_settings  # noqa: PLC0415
        from scheduled_tasks.monitoring.alerts.rules import rules  # noqa: PLC0415

        for read in (condition_settings, rules):
            with mistakes.collected():
                read()
    return [
        Error(
            sentence,
            hint="Fix the key in the SCHEDULED_TASKS setting.",
            id="scheduled_tasks.E012",
        )
        for sentence in mistakes.sentences
    ]


def uses(*keys: str) -> bool:
    """Whether valid settings use one of these keys; E001 reports those that are not valid."""
    try:
        loaded = load()
    except InvalidSettings:
        return False
    return any(getattr(loaded, key) for key in keys)


def check_time_zone_support(**_: Any) -> list[CheckMessage]:
    """Check that Django uses time zones: slots are moments, not local times."""
    if settings.USE_TZ:
        return []
    return [
        Error(
            "scheduled_tasks requires USE_TZ = True.",
            hint=(
                "Set USE_TZ = True in your settings. Each task has its own time zone, and without "
                "USE_TZ the hour that occurs twice at a clock change is ambiguous."
            ),
            id="scheduled_tasks.E002",
        )
    ]
