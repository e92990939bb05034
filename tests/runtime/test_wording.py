"""Log lines and marks have the singular for one."""

from __future__ import annotations

import pytest

from scheduled_tasks.runtime.failures import failure_of
from scheduled_tasks.runtime.sanitizing import sanitized_text
from scheduled_tasks.runtime.tracebacks import MAX_CHAIN
from scheduled_tasks.runtime.wording import counted
from tests.runtime.test_huge_values import chained


@pytest.mark.parametrize(("number", "said"), [(0, "0 lines"), (1, "1 line"), (2, "2 lines")])
def test_a_number_has_its_noun(number: int, said: str) -> None:
    assert counted(number, "line") == said


def test_marks_of_cuts_have_the_singular() -> None:
    assert "… 1 character cut …" in sanitized_text("x" * 101, limit=100)
    error = failure_of(chained(MAX_CHAIN), caller="somewhere.else")
    assert "… 1 exception in between not shown …" in error["traceback"]
