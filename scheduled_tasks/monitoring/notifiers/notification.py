"""What a notifier is given: an alert as a plain value, and how people and programs read it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.utils import timezone
from django.utils.text import Truncator

from scheduled_tasks.monitoring.notifiers.phrases import phrases_of

RAISED, REMINDER, CLEARED = "raised", "reminder", "cleared"
#: In characters. A text has less than 2,000 in all, which is what chats take.
MAX_TITLE_LENGTH, MAX_MESSAGE_LENGTH = 200, 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One message about an alert. All texts come without secrets.

    ``event`` is ``raised``, ``reminder`` or ``cleared``. ``id`` is that of the alert, so all
    messages about it share it. ``message`` is the reason alone: the title names the task. ``task``
    is its name, None for alerts about workers, services and keys, which ``subject`` names. ``url``
    is the page in the admin, None if there is none. ``cleared_at`` is None while the alert is open.
    """

    id: str
    event: str
    condition: str
    severity: str
    task: str | None
    subject: str
    execution_id: int | None
    message: str
    url: str | None
    raised_at: datetime
    cleared_at: datetime | None

    def as_json(self) -> dict[str, Any]:
        """Return the body of a webhook: ids are text, times are ISO 8601 in UTC with ``Z``."""
        return {
            "id": self.id,
            "event": self.event,
            "condition": self.condition,
            "severity": self.severity,
            "task": self.task,
            "subject": self.subject or None,
            "executionId": None if self.execution_id is None else str(self.execution_id),
            "message": self.message,
            "url": self.url,
            "raisedAt": utc(self.raised_at),
            "clearedAt": None if self.cleared_at is None else utc(self.cleared_at),
        }

    def title(self) -> str:
        """Return one line: ``[error] nightly-report failed: ConnectionError: refused``."""
        reason = "" if self.event == CLEARED else self.message
        line = f"[{self.mark()}] {': '.join(filter(None, (self.headline(), reason)))}"
        return Truncator(" ".join(line.split())).chars(MAX_TITLE_LENGTH)

    def text(self) -> str:
        """Return what a mail or a chat shows below the title; it can be read without the title."""
        message = Truncator(self.message).chars(MAX_MESSAGE_LENGTH)
        parts = (self.headline(), message, self.facts(), self.ending())
        return "\n\n".join(filter(None, parts))

    def headline(self) -> str:
        """Return what happened to what, without the reason: ``nightly-report failed``."""
        return phrases_of(self.condition).headline.format(about=self.task or self.subject)

    def mark(self) -> str:
        """Return what stands in brackets before the headline."""
        if self.event == CLEARED:
            return CLEARED
        return f"{self.severity}, {REMINDER}" if self.event == REMINDER else self.severity

    def facts(self) -> str:
        """Return a line for each fact that is known."""
        known = {
            "Severity": self.severity,
            "Since": shown(self.raised_at),
            "Cleared": shown(self.cleared_at),
            "Subject": self.subject if self.task else "",
            "Execution": self.execution_id,
            "Details": self.url,
        }
        return "\n".join(f"{name}: {value}" for name, value in known.items() if value)

    def ending(self) -> str:
        """Return what follows from the message: whether the alert is open, and what clears it."""
        if self.event == CLEARED:
            return "This alert is cleared."
        clears = phrases_of(self.condition).clears
        return f"This alert is cleared when {clears}." if clears else ""


def utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def shown(moment: datetime | None) -> str:
    """Return a moment in the time zone of the project; "" for None."""
    if moment is None:
        return ""
    local = timezone.localtime(moment, timezone.get_default_timezone())
    return local.strftime("%Y-%m-%d %H:%M:%S %Z")
