"""What is shown of an error of a notifier."""

from __future__ import annotations

import pytest

from scheduled_tasks.exceptions import NotSent, PermanentError
from scheduled_tasks.monitoring.notifiers.errors import MAX_LENGTH, error_text


class BrokenError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (NotSent("https://shop.example answered 500."), "https://shop.example answered 500."),
        (PermanentError("token=hunter2 is revoked"), "token=[redacted] is revoked"),
        (ValueError("password=hunter2"), "ValueError: password=[redacted]"),
        (KeyError("room"), "KeyError: 'room'"),
        (TimeoutError(), "TimeoutError"),
        (PermanentError(), "scheduled_tasks.exceptions.PermanentError"),
    ],
)
def test_the_reason_is_shown_without_secrets(error: Exception, text: str) -> None:
    assert error_text(error) == text


def test_a_broken_error_has_a_text() -> None:
    assert "BrokenError" in error_text(BrokenError())


def test_a_long_reason_is_cut() -> None:
    assert len(error_text(NotSent("x" * 100_000))) <= MAX_LENGTH
