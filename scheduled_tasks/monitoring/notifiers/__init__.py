"""What sends notifications: a ``Notification`` goes in, ``send`` returns when it has arrived.

Each kind of notifier is one small file: read ``base`` first, then ``python_callable``. ``loading``
makes those of the NOTIFIERS setting.
"""

from __future__ import annotations

from scheduled_tasks.monitoring.notifiers.apprise import AppriseNotifier
from scheduled_tasks.monitoring.notifiers.base import Notifier
from scheduled_tasks.monitoring.notifiers.email import EmailNotifier
from scheduled_tasks.monitoring.notifiers.notification import Notification
from scheduled_tasks.monitoring.notifiers.python_callable import CallableNotifier
from scheduled_tasks.monitoring.notifiers.webhook import WebhookNotifier

__all__ = [
    "AppriseNotifier",
    "CallableNotifier",
    "EmailNotifier",
    "Notification",
    "Notifier",
    "WebhookNotifier",
]
