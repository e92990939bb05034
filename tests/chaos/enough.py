"""Says what chaos has to have shown, so that it means something if the checker is silent."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tests.chaos.history import History
from tests.chaos.script import DECK

#: From so many seconds on all of it is certain to have been shown.
LONG_ENOUGH = 120
#: Handlers that have no end of their own.
NEVER_SUCCEED = ("stubborn",)


def lacking(history: History, done: Collection[str]) -> Iterator[str]:
    """Yield what was not shown by a history and the acts that were done in it."""
    for what in DECK:
        if what not in done:
            yield f"the monkey did not {what.replace('_', ' ')}"
    succeeded = {row.task for row in history.rows if row.status == "success"}
    shown = {history.tasks[name].kind for name in succeeded}
    for handler, executor in sorted({task.kind for task in history.tasks.values()} - shown):
        if handler not in NEVER_SUCCEED:
            yield f"no {handler} run succeeded in a {executor}"
    outcomes = {one.outcome for one in history.tried}
    for outcome in ("failed", "postponed", "lost"):
        if outcome not in outcomes:
            yield f"nothing that {outcome} was tried again"
    if not any(line.beside for line in history.journal):
        yield "locks of tasks show no overlap at all"
