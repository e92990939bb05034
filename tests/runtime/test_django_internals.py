"""What we use of Django that it does not document, by version of Django."""

from __future__ import annotations

import json
from typing import Any

import django
import pytest
from django import forms
from django.contrib import messages
from django.contrib.auth.models import Group
from django.contrib.messages.storage.fallback import FallbackStorage
from django.db import connection, transaction
from django.dispatch import Signal
from django.test import RequestFactory

from scheduled_tasks.models import Execution
from scheduled_tasks.runtime.django_internals import (
    JSONString,
    delete_alone,
    live_receivers,
    mark_for_write,
    open_blocks,
    queued_messages,
)

#: Before you add one, read Atomic, Signal, QuerySet.db and _raw_delete, BaseStorage and
#: forms.JSONField.
VERSIONS = [(5, 2), (6, 0), (6, 1)]


def test_the_internals_of_this_version_were_read() -> None:
    assert django.VERSION[:2] in VERSIONS


@pytest.mark.django_db
def test_the_block_of_a_test_is_omitted() -> None:
    assert connection.in_atomic_block
    assert open_blocks(connection) == []
    with transaction.atomic() as outer, transaction.atomic():
        assert outer is None
        blocks = open_blocks(connection)
        assert len(blocks) == 2
        assert blocks[0] is connection.atomic_blocks[-2]


@pytest.mark.django_db(transaction=True)
def test_no_block_is_open_outside_a_transaction() -> None:
    assert open_blocks(connection) == []


def test_the_receivers_of_one_sender_are_found() -> None:
    def plain(**named: Any) -> None: ...

    async def waiting(**named: Any) -> None: ...

    signal = Signal()
    signal.connect(waiting)
    signal.connect(plain, sender=Signal)
    assert live_receivers(signal, Signal) == [plain, waiting]
    assert live_receivers(signal, None) == [waiting]


def test_the_router_chooses_as_for_a_write(settings: Any) -> None:
    class Router:
        """Reads and writes in different places."""

        def db_for_read(self, model: Any, **hints: Any) -> str:
            """Return the replica."""
            return "replica"

        def db_for_write(self, model: Any, **hints: Any) -> str:
            """Return the primary."""
            return "primary"

    settings.DATABASE_ROUTERS = [Router()]
    rows = Execution.objects.all()
    assert rows.db == "replica"
    mark_for_write(rows)
    assert rows.db == "primary"


@pytest.mark.django_db
def test_rows_are_deleted_by_one_statement(django_assert_num_queries: Any) -> None:
    Group.objects.bulk_create([Group(name="one"), Group(name="two")])
    with django_assert_num_queries(1):
        assert delete_alone(Group.objects.filter(name="one")) == 1
    assert list(Group.objects.values_list("name", flat=True)) == ["two"]


def test_a_queued_message_can_be_removed() -> None:
    request = RequestFactory().get("/")
    request.session = {}  # type: ignore[assignment]
    request._messages = FallbackStorage(request)  # type: ignore[attr-defined]
    messages.info(request, "kept")
    messages.info(request, "rolled back")
    del queued_messages(request)[1:]
    assert [message.message for message in messages.get_messages(request)] == ["kept"]


def test_a_request_without_messages_has_none_queued() -> None:
    assert queued_messages(RequestFactory().get("/")) == []


def test_a_form_does_not_parse_a_string_twice() -> None:
    field = forms.JSONField()
    assert field.to_python(JSONString("1")) == "1"
    assert field.to_python(json.dumps("1")) == "1"
