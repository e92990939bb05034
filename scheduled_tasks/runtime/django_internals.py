"""What we use of Django that it does not document; models/sql/compiled.py has the rest.

Tested on Django 5.2 to 6.1; see tests/runtime/test_django_internals.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.messages import get_messages
from django.db.models import QuerySet
from django.db.transaction import Atomic
from django.dispatch import Signal
from django.forms.fields import JSONString
from django.http import HttpRequest

__all__ = [
    "JSONString",
    "delete_alone",
    "live_receivers",
    "mark_for_write",
    "open_blocks",
    "queued_messages",
]


def open_blocks(connection: Any) -> list[Atomic]:
    """Return the ``atomic`` blocks that are open on a connection, the outermost first.

    Without the block that a test case opens around each test: it is not the caller's own.
    """
    return [block for block in connection.atomic_blocks if not block._from_testcase]  # noqa: SLF001


def live_receivers(signal: Signal, sender: object) -> list[Callable[..., Any]]:
    """Return the receivers of a signal that still exist, those that are ``async`` last."""
    plain, waiting = signal._live_receivers(sender)  # noqa: SLF001
    return [*plain, *waiting]


def mark_for_write(queryset: QuerySet[Any]) -> None:
    """Have the router choose the database for this queryset as for a write."""
    # As Django's own updates and deletions do.
    queryset._for_write = True  # type: ignore[attr-defined]  # noqa: SLF001


def delete_alone(queryset: QuerySet[Any]) -> int:
    """Delete rows in one statement, without what refers to them and without signals."""
    return int(queryset._raw_delete(queryset.db))  # noqa: SLF001


def queued_messages(request: HttpRequest) -> list[Any]:
    """Return the list of messages to the user that this request has queued.

    There is no public way to remove the messages of an attempt that was rolled back.
    """
    queued: list[Any] = getattr(get_messages(request), "_queued_messages", [])
    return queued
