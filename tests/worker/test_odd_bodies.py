"""A message whose body someone has written by hand harms no other."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from scheduled_tasks.models import Worker
from tests.worker.served_outbox import SECOND, Add, Receiver, Server, state

pytestmark = pytest.mark.django_db(transaction=True)

BODIES = [[], ["left"], "text", 7]


@pytest.mark.parametrize("body", BODIES)
def test_an_odd_body_is_given_up(worker: Worker, add: Add, now: datetime, body: Any) -> None:
    add("ops", body=body)
    Server(worker).send(now, 1)
    error = "Its body is not a JSON object, as only SQL by hand can write it."
    assert state("ops") == [(True, False, 1, error)]


@pytest.mark.parametrize("body", BODIES)
def test_an_odd_body_harms_no_other(
    receiver: Receiver, server: Server, add: Add, now: datetime, body: Any
) -> None:
    """Whatever comes of it, its result can be recorded."""
    add("odd", body=body)
    add("ops")
    receiver.raises["odd"] = ValueError("Not now.")
    server.send(now, 2)
    assert state("odd")[0][:3] == (False, False, 1)
    del receiver.raises["odd"]
    server.send(now + SECOND, 1)
    assert state("odd") == [(True, True, 2, "")]
    assert state("ops") == [(True, True, 1, "")]
