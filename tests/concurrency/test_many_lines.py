"""A run that logs without end: its first lines are kept, its last ones too, and nothing grows."""

from __future__ import annotations

import psutil
import pytest

from scheduled_tasks.models import ExecutionLog
from tests.concurrency.runs import fresh, queue_a_run
from tests.support.processes import LONG, options, running, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]

COUNT, KEPT, LAST = 100_000, 10_000, 100
#: How much larger a process may become, in bytes: what is on its way is bounded.
GROWTH = 48 << 20


class Sizes:
    """How large the worker and its fork server are, and were at most."""

    def __init__(self, worker: int) -> None:
        process = psutil.Process(worker)
        self.processes = [process, *process.children()]
        self.first = self.now()
        self.most = self.first

    def now(self) -> list[int]:
        return [process.memory_info().rss for process in self.processes]

    def look(self) -> bool:
        self.most = [max(pair) for pair in zip(self.most, self.now(), strict=True)]
        return True

    @property
    def growth(self) -> int:
        return max(most - first for most, first in zip(self.most, self.first, strict=True))


@pytest.mark.parametrize("executor", ["process", pytest.param("thread", marks=pytest.mark.long)])
def test_lines_before_the_cap_survive_in_flat_memory(executor: str) -> None:
    with running("--verbosity=0", TEST_OPTIONS=options(LEASE=30)) as worker:
        sizes = Sizes(worker.pid)
        execution = queue_a_run("log_lines", payload={"count": COUNT}, executor=executor)
        wait_until(lambda: sizes.look() and fresh(execution).finished, within=LONG)
    assert (execution.status, execution.result) == ("success", COUNT)
    texts = list(ExecutionLog.objects.filter(execution=execution).values_list("message", flat=True))
    said = "line %d of the many that this run has to say"
    assert texts[:KEPT] == [said % number for number in range(KEPT)]
    assert texts[KEPT].startswith("Log truncated: MAX_LOG_LINES keeps 10000 lines")
    assert texts[KEPT + 1] == f"{COUNT - KEPT - LAST} lines omitted."
    assert texts[KEPT + 2 :] == [said % number for number in range(COUNT - LAST, COUNT)]
    assert execution.log_count == len(texts) == KEPT + 2 + LAST
    assert sizes.growth < GROWTH, sizes.most


@pytest.mark.parametrize("executor", ["process", "thread"])
def test_unstorable_output_is_stored_as_far_as_possible(executor: str) -> None:
    with running("--verbosity=0", TEST_OPTIONS=options(LEASE=30)):
        below = {"below": executor == "process"}
        execution = queue_a_run("print_strange_things", payload=below, executor=executor)
        wait_until(lambda: fresh(execution).finished, within=LONG)
    assert (execution.status, execution.result) == ("success", "done")
    texts = list(execution.log_lines.values_list("message", flat=True))
    assert texts.count("nul \N{REPLACEMENT CHARACTER} and ?") == 2, "logged and printed"
    for letter in "xy":
        [long] = [text for text in texts if text.startswith(letter * 100)]
        assert "characters cut" in long
    assert execution.log_count == len(texts)
