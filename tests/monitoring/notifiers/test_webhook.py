"""Webhooks, to a real server."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from scheduled_tasks.exceptions import InvalidSettings, NotSent, PermanentError
from scheduled_tasks.monitoring.notifiers import WebhookNotifier
from tests.support.notifications import make_notification
from tests.support.receivers import ALLOWED, CLOSED_PORT, HANGS, HttpReceiver, http_receiver

SECRET = "correct horse"
HEADER = "x-scheduled-tasks-signature"


@pytest.fixture(autouse=True)
def allowed(settings: Any) -> None:
    settings.SCHEDULED_TASKS = ALLOWED


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as receiver:
        yield receiver


def test_the_body_is_the_notification(receiver: HttpReceiver) -> None:
    notification = make_notification(message="Überlauf")
    WebhookNotifier(url=f"{receiver.url}/hooks?key=1").send(notification)
    [request] = receiver.requests
    assert (request.method, request.path) == ("POST", "/hooks?key=1")
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == notification.as_json()
    assert HEADER not in request.headers


def test_further_headers_are_sent(receiver: HttpReceiver) -> None:
    WebhookNotifier(url=receiver.url, headers={"Authorization": "Bearer x"}).send(
        make_notification()
    )
    assert receiver.requests[0].headers["authorization"] == "Bearer x"


def test_the_signature_covers_time_and_body(receiver: HttpReceiver) -> None:
    before = int(time.time())
    WebhookNotifier(url=receiver.url, secret=SECRET).send(make_notification())
    [request] = receiver.requests
    parts = dict(part.split("=") for part in request.headers[HEADER].split(","))
    assert list(parts) == ["t", "v1"]
    assert before <= int(parts["t"]) <= time.time()
    signed = parts["t"].encode() + b"." + request.body
    assert parts["v1"] == hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_success_is_enough(status: int) -> None:
    with http_receiver(status) as receiver:
        WebhookNotifier(url=receiver.url).send(make_notification())
        assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 400, 401, 403, 404, 418, 429, 500, 503, 599])
def test_what_may_be_repaired_is_tried_again(status: int) -> None:
    with http_receiver(status, 200) as receiver:
        notifier = WebhookNotifier(url=f"{receiver.url}/secret-path", timeout=5)
        with pytest.raises(NotSent, match=f"^{receiver.url} answered {status}"):
            notifier.send(make_notification())
        notifier.send(make_notification())
        assert len(receiver.requests) == 2


def test_what_is_gone_is_permanent() -> None:
    with http_receiver(410) as receiver:
        with pytest.raises(PermanentError) as caught:
            WebhookNotifier(url=f"{receiver.url}/secret-path").send(make_notification())
        assert str(caught.value) == f"{receiver.url} answered 410 Gone."


def test_a_server_that_hangs_is_given_up() -> None:
    with http_receiver(HANGS) as receiver:
        with pytest.raises(NotSent, match=r"did not answer in full within 0\.3 s"):
            WebhookNotifier(url=receiver.url, timeout=0.3).send(make_notification())
        assert len(receiver.requests) == 1


def test_no_server_is_tried_again() -> None:
    origin = f"http://127.0.0.1:{CLOSED_PORT}"
    with pytest.raises(NotSent) as refused:
        WebhookNotifier(url=f"{origin}/token").send(make_notification())
    assert str(refused.value) == f"The connection to {origin} failed: Connection refused."


def test_an_address_that_may_not_be_reached(receiver: HttpReceiver, settings: Any) -> None:
    settings.SCHEDULED_TASKS = {}
    with pytest.raises(PermanentError, match="OUTGOING_ALLOW"):
        WebhookNotifier(url=receiver.url).send(make_notification())
    assert receiver.requests == []


URL = "https://hooks.shop.example/"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"url": "hooks.shop.example"}, "url"),
        ({"url": "ftp://hooks.shop.example"}, "url"),
        ({"url": "https://"}, "url"),
        ({"url": None}, "url"),
        ({"url": "", "secret": "x"}, "url"),
        ({"url": URL, "secret": b"x"}, "secret"),
        ({"url": URL, "secret": ""}, "secret"),
        ({"url": URL, "secret": " "}, "secret"),
        ({"url": URL, "secret": None}, "secret"),
        ({"url": URL, "headers": {"X-Token": ""}}, "headers"),
        ({"url": URL, "headers": ["a"]}, "headers"),
        ({"url": URL, "headers": {"a": 1}}, "headers"),
        ({"url": URL, "headers": {"A B": "x"}}, "headers"),
        ({"url": URL, "headers": {"A": "x\r\nB: y"}}, "headers"),
        ({"url": URL, "headers": {"Host": "x"}}, "headers"),
        ({"url": URL, "headers": {"content-type": "text/plain"}}, "headers"),
        ({"url": URL, "headers": {HEADER: "x"}}, "headers"),
        ({"url": URL, "timeout": 0}, "timeout"),
        ({"url": URL, "timeout": True}, "timeout"),
        ({"url": URL, "timeout": float("nan")}, "timeout"),
        ({"url": URL, "timeout": "10"}, "timeout"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidSettings, match=f"the option '{named}' (must|cannot) be "):
        WebhookNotifier(**options)


def test_all_wrong_options_are_named() -> None:
    with pytest.raises(InvalidSettings) as refused:
        WebhookNotifier(url="shop.example", secret=1, headers=[], timeout=0)  # type: ignore[arg-type]
    assert len(refused.value.mistakes) == 4


def test_as_text_it_is_the_origin() -> None:
    notifier = WebhookNotifier(url="https://user:hunter2@hooks.shop.example/services/T0/B0/x")
    assert str(notifier) == "https://hooks.shop.example"
