"""Functions of the project that are called with notifications."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from scheduled_tasks.exceptions import InvalidSettings
from scheduled_tasks.monitoring.notifiers import CallableNotifier
from scheduled_tasks.monitoring.notifiers.notification import Notification
from tests.support.notifications import make_notification

received: list[Notification] = []
not_a_function = 7


def receive(notification: Notification) -> None:
    received.append(notification)


async def receive_later(notification: Notification) -> None:
    await asyncio.sleep(0)
    received.append(notification)


def takes_nothing() -> None: ...


def takes_more(notification: Notification, room: str) -> None: ...


@pytest.fixture(autouse=True)
def empty() -> None:
    received.clear()


@pytest.mark.parametrize(
    "function",
    [receive, f"{__name__}.receive", receive_later, f"{__name__}.receive_later", received.append],
)
def test_a_function_gets_the_notification(function: Any) -> None:
    notification = make_notification()
    CallableNotifier(function=function).send(notification)
    assert received == [notification]


def test_what_it_raises_is_the_failure() -> None:
    with pytest.raises(ZeroDivisionError):
        CallableNotifier(function=lambda notification: 1 / 0).send(make_notification())


@pytest.mark.parametrize(
    "function", [None, 7, f"{__name__}.not_a_function", takes_nothing, takes_more]
)
def test_what_cannot_be_called_is_refused(function: Any) -> None:
    with pytest.raises(InvalidSettings, match="the option 'function' must be a function"):
        CallableNotifier(function=function)


def test_an_empty_path_is_refused() -> None:
    with pytest.raises(InvalidSettings, match="the option 'function' is empty: it must be a fun"):
        CallableNotifier(function=" ")


@pytest.mark.parametrize("path", ["nowhere", "nowhere.f", f"{__name__}.absent"])
def test_what_cannot_be_imported_is_refused(path: str) -> None:
    with pytest.raises(InvalidSettings, match="the option 'function' cannot be imported: "):
        CallableNotifier(function=path)


def test_a_builtin_without_a_signature_is_fine() -> None:
    assert str(CallableNotifier(function=max)) == "builtins.max"


def test_as_text_it_is_its_dotted_path() -> None:
    assert str(CallableNotifier(function=receive)) == f"{__name__}.receive"
    assert str(CallableNotifier(function=partial(takes_more, room="x"))) == "functools.partial"
