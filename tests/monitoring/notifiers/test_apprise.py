"""Notifications by apprise, to a real server that takes its JSON."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import apprise
import pytest

from scheduled_tasks.exceptions import InvalidSettings, NotSent
from scheduled_tasks.monitoring.notifiers import AppriseNotifier
from tests.support.notifications import make_notification
from tests.support.receivers import CLOSED_PORT, HttpReceiver, http_receiver


def address(receiver: HttpReceiver, path: str = "") -> str:
    return receiver.url.replace("http://", "json://") + path


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"severity": "critical"}, "failure"),
        ({}, "failure"),
        ({"severity": "warning"}, "warning"),
        ({"severity": "info", "condition": "test"}, "info"),
        ({"severity": "info", "condition": "success"}, "success"),
        ({"event": "cleared"}, "success"),
    ],
)
def test_title_text_and_kind_arrive(changes: dict[str, Any], kind: str) -> None:
    notification = make_notification(**changes)
    with http_receiver() as receiver:
        AppriseNotifier(urls=address(receiver)).send(notification)
    [body] = [json.loads(request.body) for request in receiver.requests]
    assert (body["title"], body["type"]) == (notification.title(), kind)
    assert body["message"] == notification.text()


def test_every_service_hears_of_it() -> None:
    with http_receiver() as one, http_receiver() as other:
        AppriseNotifier(urls=[address(one), address(other)]).send(make_notification())
    assert len(one.requests) == len(other.requests) == 1


def test_a_service_that_fails_is_an_error() -> None:
    with http_receiver() as one, http_receiver(500, 200) as other:
        notifier = AppriseNotifier(urls=[address(one), address(other, "/tok3n")])
        with pytest.raises(NotSent) as caught:
            notifier.send(make_notification())
        notifier.send(make_notification())
    assert str(caught.value).startswith("JSON: Failed to send JSON")
    assert "error=500" in str(caught.value)


def test_no_part_of_a_url_is_shown() -> None:
    url = "json://user:hun%40ter@127.0.0.1:1/tok3n?+X-Key=k3y"
    text = "to user with hun@ter or hun%40ter, at /tok3n with k3y: tok3ns are user-friendly"
    shown = AppriseNotifier(urls=url).without_secrets(text)
    assert shown == (
        "to [redacted] with [redacted] or [redacted], at /[redacted] with [redacted]: "
        "tok3ns are [redacted]-friendly"
    )


def test_no_server_is_an_error_without_secrets() -> None:
    with pytest.raises(NotSent, match="JSON: A Connection error") as caught:
        AppriseNotifier(urls=f"json://ada:hunter2@127.0.0.1:{CLOSED_PORT}/tok3n").send(
            make_notification()
        )
    assert "hunter2" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("slack://hunter2/hunter2", "'slack://…'"),
        ("slak://hunter2/hunter2/hunter2", "'slak://…'"),
        ("hunter2", "a text"),
        ("hun ter2://x", "a text"),
    ],
)
def test_a_url_that_cannot_be_read_stays_secret(
    url: str, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(InvalidSettings) as caught:
        AppriseNotifier(urls=["json://127.0.0.1", url])
    assert f"the option 'urls' has {shown} as number 2" in str(caught.value)
    assert "hunter2" not in str(caught.value) + caplog.text


def test_apprise_may_log_again_afterwards(caplog: pytest.LogCaptureFixture) -> None:
    AppriseNotifier(urls="json://127.0.0.1")
    apprise.logger.warning("audible")
    assert "audible" in caplog.text


@pytest.mark.parametrize("urls", ["", [], [""], None, [1], {"a": "b"}])
def test_wrong_options_are_refused(urls: Any) -> None:
    with pytest.raises(InvalidSettings, match="the option 'urls' must be a URL"):
        AppriseNotifier(urls=urls)


def test_without_apprise_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(InvalidSettings, match="install apprise, or the extra 'alerts'"):
        AppriseNotifier(urls="json://127.0.0.1")


def test_as_text_it_is_its_services() -> None:
    assert str(AppriseNotifier(urls=["json://127.0.0.1", "xml://127.0.0.1"])) == "JSON, XML"
