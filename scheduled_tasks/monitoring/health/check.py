"""Asking for the health from outside, with a limit on the wait for the answer."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from time import monotonic, sleep

from django.db import connections

from scheduled_tasks.conf import app_settings
from scheduled_tasks.exceptions import InvalidSettings
from scheduled_tasks.monitoring.alerts.rules import rules
from scheduled_tasks.monitoring.health.invariants import seconds_to_settle
from scheduled_tasks.monitoring.health.report import MAX_ERROR_LENGTH, Health, critical, health
from scheduled_tasks.monitoring.health.violations import Violation

#: Seconds until an answer is there. Most callers wait for ten, and Django has to start before.
ANSWER_SECONDS = 8.0
#: Seconds that are kept for the second look.
SECOND_LOOK_SECONDS = 1.5


def check_health(*, deep: bool = False, within: float = ANSWER_SECONDS) -> Health:
    """Return the health, at the latest after ``within`` seconds; then it is critical.

    With ``deep``, look twice if something is found, and report what is found both times: workers
    get a moment to mend what they are about to mend.
    """
    deadline = monotonic() + within
    first = health_by(deadline, deep=deep)
    if not first.violations:
        return first
    sleep(max(min(seconds_to_settle(), deadline - monotonic() - SECOND_LOOK_SECONDS), 0))
    return health_by(deadline, deep=deep, seen=first.violations)


def health_by(deadline: float, *, deep: bool, seen: Sequence[Violation] | None = None) -> Health:
    """Return the health, critical if it is not known by a moment of the monotonic clock."""
    answers: list[Health] = []

    def ask() -> None:
        try:
            read_alert_settings()
            answers.append(health(deep=deep, seen=seen))
        except InvalidSettings as error:
            answers.append(critical(f"The settings are wrong: {error}"))
        except Exception as error:  # noqa: BLE001 -- this is what reports that something is wrong
            # Not redacted: the settings that say how may be what is wrong.
            said = f"{type(error).__name__}: {error}"[:MAX_ERROR_LENGTH]
            answers.append(critical(f"The check itself failed: {said}"))
        finally:
            connections.close_all()

    # A thread, because no signal ends the wait for a name server, or for SQLite's lock. It is left
    # behind where it hangs, and does not keep the process alive.
    thread = threading.Thread(target=ask, name="health", daemon=True)
    thread.start()
    thread.join(max(deadline - monotonic(), 0))
    return answers[0] if answers else critical("The database does not answer.")


def read_alert_settings() -> None:
    """Raise InvalidSettings for what keeps new schedulers from starting."""
    rules()
    if app_settings.NOTIFIERS:
        # It imports what sends mail and HTTP.
        from scheduled_tasks.monitoring.notifiers.loading import load_notifiers  # noqa: PLC0415

        load_notifiers()
