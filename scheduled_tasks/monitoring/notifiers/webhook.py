"""Notifications by HTTP: JSON, signed if there is a secret."""

from __future__ import annotations

import enum
import hmac
import json
from collections.abc import Mapping
from http import HTTPStatus
from time import time
from typing import Any

from scheduled_tasks.conf import MAX_NUMBER
from scheduled_tasks.exceptions import InvalidSettings, NotSent, OutgoingError, PermanentError
from scheduled_tasks.mistakes import all_mistakes
from scheduled_tasks.monitoring.notifiers.base import Notifier
from scheduled_tasks.monitoring.notifiers.notification import Notification
from scheduled_tasks.monitoring.notifiers.options import refused
from scheduled_tasks.outgoing import sending
from scheduled_tasks.outgoing.headers import checked
from scheduled_tasks.outgoing.target import Target

SIGNATURE = "X-Scheduled-Tasks-Signature"
CONTENT_TYPE = "Content-Type"
#: Of an answer, only the status counts.
MAX_BYTES = 1_000


class Unsigned(enum.Enum):
    """Stands for a secret that is left out: an environment variable may be None or ""."""

    UNSIGNED = "unsigned"


class WebhookNotifier(Notifier):
    """Posts each notification as JSON to a URL. With a secret, it signs what it sends."""

    def __init__(
        self,
        *,
        url: str,
        secret: str | Unsigned = Unsigned.UNSIGNED,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
    ) -> None:
        with all_mistakes() as mistakes:
            with mistakes.collected():
                self.secret = secret_key(secret)
            with mistakes.collected():
                if type(timeout) not in (int, float) or not 0 < timeout <= MAX_NUMBER:
                    raise refused("timeout", "a number of seconds above 0")
            with mistakes.collected():
                self.target = target_of(url)
            with mistakes.collected():
                self.headers = checked_headers({} if headers is None else headers)
        self.url = url
        self.timeout = timeout

    def send(self, notification: Notification) -> None:
        """Post it. Raise PermanentError if the URL is gone or may not be reached."""
        body = json.dumps(notification.as_json()).encode()
        headers = {**self.headers, CONTENT_TYPE: "application/json"}
        if self.secret:
            headers[SIGNATURE] = signature(self.secret, body, timestamp=int(time()))
        try:
            response = sending.send(
                "POST",
                self.url,
                headers=headers,
                body=body,
                timeout=self.timeout,
                max_bytes=MAX_BYTES,
            )
        except OutgoingError as error:
            raise (PermanentError if error.permanent else NotSent)(str(error)) from None
        self.refuse_failure(response.status)

    def refuse_failure(self, status: int) -> None:
        """Raise for any status but 2xx. Only 410 is permanent: people may repair the others."""
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return
        kind = PermanentError if status == HTTPStatus.GONE else NotSent
        raise kind(f"{self} answered {described(status)}.")

    def __str__(self) -> str:
        """Return the origin of the URL: its path may be a secret."""
        return str(self.target)


def signature(secret: bytes, body: bytes, *, timestamp: int) -> str:
    """Return the header that proves who sent the body, and when: ``t=UNIX,v1=HEX``."""
    digest = hmac.digest(secret, b"%d.%b" % (timestamp, body), "sha256")
    return f"t={timestamp},v1={digest.hex()}"


def secret_key(secret: Any) -> bytes:
    """Return the key of the signature, b"" to sign nothing. Raise InvalidSettings."""
    if secret is Unsigned.UNSIGNED:
        return b""
    if not isinstance(secret, str) or not secret.strip():
        raise refused("secret", "text that is not empty, or be left out to sign nothing")
    return secret.encode()


def target_of(url: Any) -> Target:
    if not isinstance(url, str):
        raise refused("url", "a URL that begins with https:// or http://")
    try:
        return Target.of(url)
    except OutgoingError as error:
        raise InvalidSettings(f"the option 'url' cannot be used: {error}") from None


def checked_headers(headers: Any) -> Mapping[str, str]:
    """Return the headers. Raise InvalidSettings for those that cannot be sent, or are set here."""
    wanted = f"a dictionary of texts that are not empty, without {CONTENT_TYPE} and {SIGNATURE}"
    if not isinstance(headers, Mapping):
        raise refused("headers", wanted)
    for name, value in headers.items():
        if not (isinstance(name, str) and isinstance(value, str) and value.strip()):
            raise refused("headers", wanted)
        if name.lower() in {CONTENT_TYPE.lower(), SIGNATURE.lower()}:
            raise refused("headers", wanted)
    try:
        checked(headers)
    except OutgoingError as error:
        raise InvalidSettings(f"the option 'headers' cannot be used: {error}") from None
    return headers


def described(status: int) -> str:
    """Return a status with its standard phrase: ``503 Service Unavailable``."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
