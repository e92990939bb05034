"""A receiver of notifications in this process."""

from __future__ import annotations

from scheduled_tasks.monitoring.notifiers.notification import Notification

received: list[Notification] = []


def receive(notification: Notification) -> None:
    received.append(notification)
