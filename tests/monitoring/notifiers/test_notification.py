"""Notifications as people and as programs read them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from scheduled_tasks.monitoring.notifiers.phrases import PHRASES, TEST
from scheduled_tasks.runtime.conditions import Condition
from tests.support.notifications import RAISED_AT, make_notification

CLEARED = {"event": "cleared", "cleared_at": RAISED_AT + timedelta(minutes=25)}


def test_the_body_of_a_webhook() -> None:
    assert make_notification(**CLEARED).as_json() == {
        "id": "0b7e1c9e-58a6-4f0e-a6cd-3f1c9f0e7a11",
        "event": "cleared",
        "condition": "failed",
        "severity": "error",
        "task": "nightly-report",
        "subject": None,
        "executionId": "4711",
        "message": "ConnectionError: refused",
        "url": "https://shop.example/admin/scheduled_tasks/execution/4711/change/",
        "raisedAt": "2030-01-15T02:00:05Z",
        "clearedAt": "2030-01-15T02:25:05Z",
    }


def test_what_there_is_not_is_null() -> None:
    body = make_notification(task=None, execution_id=None, url=None).as_json()
    absent = {name for name, value in body.items() if value is None}
    assert absent == {"task", "subject", "executionId", "url", "clearedAt"}


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({}, "[error] nightly-report failed: ConnectionError: refused"),
        (
            {"event": "reminder"},
            "[error, reminder] nightly-report failed: ConnectionError: refused",
        ),
        (CLEARED, "[cleared] nightly-report failed"),
        ({"message": ""}, "[error] nightly-report failed"),
        (
            {"condition": "worker_lost", "task": None, "subject": "web-1:42", "message": "Silent."},
            "[error] worker web-1:42 was lost: Silent.",
        ),
        (
            {"condition": "success", "severity": "info", "message": ""},
            "[info] nightly-report succeeded",
        ),
        # Of newer code, before a rollback.
        ({"condition": "disk_full", "message": ""}, "[error] disk_full: nightly-report"),
    ],
)
def test_titles(changes: dict[str, Any], title: str) -> None:
    assert make_notification(**changes).title() == title


def test_a_title_is_one_short_line() -> None:
    message = "Bcc: all@shop.example\r\n\u2028\x0b" * 100
    title = make_notification(message=message, subject="\r\n").title()
    assert (title.isprintable(), len(title), title[-1]) == (True, 200, "…")


def test_the_text_of_a_failure() -> None:
    assert make_notification().text() == (
        "nightly-report failed\n\n"
        "ConnectionError: refused\n\n"
        "Severity: error\n"
        "Since: 2030-01-15 02:00:05 UTC\n"
        "Execution: 4711\n"
        "Details: https://shop.example/admin/scheduled_tasks/execution/4711/change/\n\n"
        "This alert is cleared when the task succeeds."
    )


def test_the_text_of_what_is_over(settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    text = make_notification(**CLEARED, subject="retry 3", url=None, message="").text()
    assert text == (
        "nightly-report failed\n\n"
        "Severity: error\n"
        "Since: 2030-01-15 03:00:05 CET\n"
        "Cleared: 2030-01-15 03:25:05 CET\n"
        "Subject: retry 3\n"
        "Execution: 4711\n\n"
        "This alert is cleared."
    )


def test_a_chat_takes_the_longest_text() -> None:
    longest = make_notification(
        **CLEARED,
        message="x" * 100_000,
        task="t" * 100,
        subject="s" * 255,
        condition="over_interval",
        url="https://shop.example/" + "u" * 150,
    )
    assert "x" * 999 + "…\n" in longest.text()
    assert len(longest.text()) < 2_000
    assert longest.as_json()["message"] == "x" * 100_000


def test_every_condition_has_its_phrases() -> None:
    assert set(PHRASES) == {*Condition, TEST}
    for condition, phrases in PHRASES.items():
        headline = make_notification(condition=str(condition)).headline()
        assert headline.isprintable()
        assert "{" not in headline
        assert bool(phrases.clears) == (condition not in {Condition.SUCCESS, TEST})
