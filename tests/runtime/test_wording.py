"""Log lines and marks have the singular for one."""

from __future__ import annotations

import pytest

from scheduled_tasks.runtime.failures import failure_of
from scheduled_tasks.runtime.sanitizing import sanitized_text
from scheduled_tasks.runtime.tracebacks import MAX_CHAIN
from scheduled_tasks.runtime.wording import counted, duration
from tests.runtime.test_huge_values import chained


@pytest.mark.parametrize(("number", "said"), [(0, "0 lines"), (1, "1 line"), (2, "2 lines")])
def test_a_number_has_its_noun(number: int, said: str) -> None:
    assert counted(number, "line") == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.25, "0.25 s"),
        (12.3, "12.3 s"),
        (59.4, "59.4 s"),
        (59.6, "1 minute"),
        (90, "1 min 30 s"),
        (3_600, "1 hour"),
        (5_400, "1 h 30 min"),
        (86_400, "24 hours"),
        (90_000.2, "25 hours"),
        (172_800, "2 days"),
        (180_061, "2 d 2 h 1 min 1 s"),
    ],
)
def test_a_duration_is_in_fitting_units(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_marks_of_cuts_have_the_singular() -> None:
    assert "… 1 character cut …" in sanitized_text("x" * 101, limit=100)
    error = failure_of(chained(MAX_CHAIN), caller="somewhere.else")
    assert "… 1 exception in between not shown …" in error["traceback"]
