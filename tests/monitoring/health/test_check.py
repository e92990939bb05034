"""The check with a limit, which looks twice and never raises."""

from __future__ import annotations

from threading import Event
from typing import Any

import pytest

from scheduled_tasks.exceptions import InvalidSettings
from scheduled_tasks.monitoring.health import check as health_check
from scheduled_tasks.monitoring.health.check import check_health
from scheduled_tasks.monitoring.health.report import Health, Level
from scheduled_tasks.monitoring.health.violations import Invariant, Violation
from tests.monitoring.health.reports import failing

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Replace ``health``; return the options of its calls. Nothing sleeps."""
    made: list[dict[str, Any]] = []
    violations = (
        Violation(Invariant.NOT_FIRED, "1", "One."),
        Violation(Invariant.NOT_FIRED, "2", "Two."),
    )

    def look(**options: Any) -> Health:
        made.append(options)
        return Health(violations=violations if options["deep"] else ())

    monkeypatch.setattr(health_check, "health", look)
    monkeypatch.setattr(health_check, "sleep", lambda seconds: made.append({"slept": seconds}))
    return made


def test_what_is_found_is_looked_at_twice(looks: list[dict[str, Any]]) -> None:
    report = check_health(deep=True)
    assert looks == [
        {"deep": True, "seen": None},
        {"slept": 6.0},
        {"deep": True, "seen": report.violations},
    ]
    looks.clear()
    assert check_health().level is Level.OK
    assert looks == [{"deep": False, "seen": None}]


def test_the_second_look_keeps_to_the_limit(looks: list[dict[str, Any]]) -> None:
    check_health(deep=True, within=4)
    assert 0 < looks[1]["slept"] <= 2.5


def test_a_check_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    over = Event()
    monkeypatch.setattr(health_check, "health", lambda **options: over.wait())
    report = check_health(within=0.05)
    over.set()
    assert (report.level, report.sentence) == (Level.CRITICAL, "The database does not answer.")


def test_an_unexpected_error_is_critical(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, RuntimeError("It is broken.\nVery."))
    report = check_health()
    assert report.level is Level.CRITICAL
    assert report.sentence == "The check itself failed: RuntimeError: It is broken. Very."


def test_wrong_settings_are_critical(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, InvalidSettings("SCHEDULED_TASKS must be a dictionary, not 3."))
    report = check_health()
    assert report.level is Level.CRITICAL
    assert report.sentence == (
        "The settings are wrong: SCHEDULED_TASKS must be a dictionary, not 3."
    )
