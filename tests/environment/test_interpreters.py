"""Interpreters with other options, another locale, no data about time zones of the system."""

from __future__ import annotations

from typing import Any

import pytest

from scheduled_tasks.operations.pauses import pause_all_tasks
from tests.concurrency.runs import fresh, make_task_of, queue_a_run
from tests.environment.surroundings import EXECUTORS, command, worker, works
from tests.support.processes import LONG, wait_until

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.any_database,
    pytest.mark.long,
]

#: Neither coerced to UTF-8 nor with UTF-8 mode, as in images that set a locale of their own.
ASCII = {
    "LC_ALL": "POSIX",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONIOENCODING": "ascii",
}
GREEK = "\u03b1\u03b2\u03b3"


@pytest.mark.parametrize(
    "surroundings",
    [
        pytest.param({"python": ["-X", "dev", "-b", "-W", "error"]}, id="strict"),
        pytest.param({"PYTHONOPTIMIZE": "2", "PYTHONSAFEPATH": "1"}, id="optimized"),
        pytest.param({"TZ": "Nowhere/Odd", "PYTHONTZPATH": ""}, id="without-zones"),
        pytest.param(ASCII, id="ascii"),
    ],
)
def test_other_interpreters_work(surroundings: dict[str, Any]) -> None:
    works(**surroundings)


def test_terminals_without_unicode_show_everything() -> None:
    runs = [
        queue_a_run("print_text", {"text": GREEK}, name=f"print-{name}", executor=name)
        for name in EXECUTORS
    ]
    make_task_of("answer", {"value": GREEK})
    with worker(**ASCII) as surrounded:
        wait_until(lambda: all(fresh(run).finished for run in runs), within=LONG)
        surrounded.stop()
    for run in runs:
        assert (run.status, run.error) == ("success", "")
        assert run.log_lines.get().message == GREEK
    pause_all_tasks(reason=GREEK)
    for arguments in (["listtasks"], ["runtask", "answer"]):
        with command(*arguments, **ASCII) as ran:
            output = ran.wait()
            assert ran.process.returncode == 0, output
