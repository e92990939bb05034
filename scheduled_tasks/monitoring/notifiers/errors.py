"""What people read about a notification that could not be sent."""

from __future__ import annotations

from scheduled_tasks.exceptions import ScheduledTasksError
from scheduled_tasks.runtime.failures import short_text
from scheduled_tasks.runtime.sanitizing import redacted_text, safe_str

#: In characters.
MAX_LENGTH = 1_000


def error_text(error: BaseException) -> str:
    """Return why ``send`` has failed, without secrets, whatever a notifier has raised.

    It is never "". The message of an error of this package is a sentence; others have their class.
    """
    text = safe_str(error) if isinstance(error, ScheduledTasksError) else ""
    return redacted_text(text or short_text(error), limit=MAX_LENGTH)
