"""Notifications by apprise, for Slack, Teams, PagerDuty, Telegram and many other services."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import unquote

from scheduled_tasks.exceptions import InvalidSettings, NotSent
from scheduled_tasks.mistakes import all_mistakes
from scheduled_tasks.monitoring.notifiers.base import Notifier
from scheduled_tasks.monitoring.notifiers.notification import CLEARED, Notification
from scheduled_tasks.monitoring.notifiers.options import texts
from scheduled_tasks.runtime.conditions import Condition
from scheduled_tasks.runtime.redaction import MARK

if TYPE_CHECKING:
    from apprise import Apprise, AppriseResult

URLS = "a URL, or a list of URLs, such as 'slack://tokenA/tokenB/tokenC/#ops'"
#: What may be a secret in a URL: each part of it but the scheme.
PART = re.compile(r"[^/:@?&=#,+\s]+")
#: What apprise calls the severities. Other colours and icons come with it, and nothing else.
TYPES = {"info": "info", "warning": "warning", "error": "failure", "critical": "failure"}
ENDED = "success"


class AppriseNotifier(Notifier):
    """Sends to the services that these URLs of apprise name. It needs the extra ``alerts``.

    Apprise makes its own connections, so OUTGOING_ALLOW does not apply. With several URLs, what has
    failed for one of them is sent to all of them again.
    """

    def __init__(self, *, urls: str | list[str]) -> None:
        self.urls = texts("urls", urls, URLS)
        self.services = services_of(self.urls)

    def send(self, notification: Notification) -> None:
        """Send it to all services. Raise NotSent with what each says that has not taken it."""
        result = self.services.notify(
            title=notification.title(),
            body=notification.text(),
            notify_type=kind_of(notification),
            body_format="text",
        )
        if not result:
            raise NotSent(self.without_secrets("; ".join(complaints(result))))

    def without_secrets(self, text: str) -> str:
        """Return the text without any part of the URLs: apprise masks only what it knows of."""
        parts = {part for url in self.urls for part in PART.findall(url.partition("://")[2])}
        parts |= set(map(unquote, parts))
        longest_first = map(re.escape, sorted(parts, key=len, reverse=True))
        return re.sub(rf"(?<!\w)({'|'.join(longest_first)})(?!\w)", MARK, text)

    def __str__(self) -> str:
        """Return the names of the services."""
        return ", ".join(str(service.service_name) for service in self.services)


def services_of(urls: list[str]) -> Apprise:
    """Return the services of these URLs. Raise InvalidSettings for those apprise cannot read."""
    try:
        import apprise  # noqa: PLC0415 -- an extra
    except ImportError:
        raise InvalidSettings(
            "AppriseNotifier needs apprise: install apprise, or the extra 'alerts' of this package."
        ) from None
    # One service after the other, in the thread that calls.
    asset = apprise.AppriseAsset(app_id="scheduled-tasks", async_mode=False)
    services = apprise.Apprise(asset=asset)
    with all_mistakes() as mistakes:
        for number, url in enumerate(urls, 1):
            with silenced(apprise.logger):
                service = apprise.Apprise.instantiate(url, asset=asset)
            if service is None:
                mistakes.add(
                    f"the option 'urls' has {scheme_of(url)} as number {number}, which apprise "
                    "cannot read: compare it with what apprise documents for that service."
                )
            else:
                services.add(service)
    return services


@contextmanager
def silenced(logger: logging.Logger) -> Iterator[None]:
    """Drop what is logged: apprise logs URLs that it cannot read, with the secrets in them."""

    def drop(record: logging.LogRecord) -> bool:
        return False

    logger.addFilter(drop)
    try:
        yield
    finally:
        logger.removeFilter(drop)


def scheme_of(url: str) -> str:
    """Return what may be shown of a URL that cannot be read: its scheme, if it has one."""
    scheme, separator, _ = url.partition("://")
    return f"'{scheme}://…'" if separator and scheme.isalnum() else "a text"


def kind_of(notification: Notification) -> str:
    if notification.event == CLEARED or notification.condition == Condition.SUCCESS:
        return ENDED
    return TYPES[notification.severity]


def complaints(result: AppriseResult) -> Iterator[str]:
    """Yield a sentence for each service that has not taken a notification."""
    for service in result:
        if not service:
            reasons = [entry.message for entry in service.logs()]
            yield f"{service.name}: {' '.join(reasons) or service.status.name.lower()}"
