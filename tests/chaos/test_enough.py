"""What chaos has to have shown: each kind of act, success and repetition."""

from __future__ import annotations

import pytest

from tests.chaos.enough import lacking
from tests.chaos.histories import history, line, row, task, tried
from tests.chaos.history import History
from tests.chaos.journal import BEGUN
from tests.chaos.script import DECK

TRIED = [tried(1, number, what) for number, what in enumerate(("failed", "postponed", "lost"), 1)]


def shown(**changed: object) -> History:
    """Return a history that shows all there is, but for what is changed."""
    return history(**{"tried": TRIED, "journal": [line(BEGUN, 1, beside="a1")], **changed})


def test_nothing_is_lacking_where_all_was_shown() -> None:
    assert list(lacking(shown(), list(DECK))) == []


def test_what_never_ends_need_not_succeed() -> None:
    tasks = {"t": task(), "u": task(handler="stubborn")}
    assert list(lacking(shown(tasks=tasks), list(DECK))) == []


@pytest.mark.parametrize(
    ("history", "said"),
    [
        (shown(rows=[row(1, "failed")]), "no quick run succeeded in a process"),
        (
            shown(tasks={"t": task(), "u": task(executor="thread")}),
            "no quick run succeeded in a thread",
        ),
        (shown(tried=TRIED[1:]), "nothing that failed was tried again"),
        (shown(journal=[line(BEGUN, 1)]), "locks of tasks show no overlap at all"),
    ],
)
def test_what_was_not_shown_is_named(history: History, said: str) -> None:
    assert list(lacking(history, list(DECK))) == [said]


def test_what_was_not_done_is_named() -> None:
    done = [what for what in DECK if what != "kill_run"]
    assert list(lacking(shown(), done)) == ["the monkey did not kill run"]
