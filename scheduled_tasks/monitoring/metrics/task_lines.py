"""The metrics of each task as text.

``generate_latest`` takes six times as long for thousands of samples, and longer than the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from scheduled_tasks.monitoring.metrics.measurements import Measurements, Sums
from scheduled_tasks.runtime.statuses import FINISHED, WENT_WRONG

PREFIX = "scheduled_tasks_"
#: What the format does not allow in the value of a label.
ESCAPED = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})

#: Labels as text, and a value.
Sample = tuple[str, float]


def text_of_tasks(measured: Measurements) -> str:
    """Return the counters of each task, and when it last succeeded."""
    tasks = {label(name): sums for name, sums in measured.tasks.items()}
    said = "Executions and slots by final status."
    lines = [*family("executions_total", "counter", said, by_status(tasks))]
    for name, column, unit, said in (
        ("run_seconds_total", "duration_sum_ms", 1_000, "Seconds that finished runs took."),
        ("slots_started_total", "started", 1, "Slots whose first attempt has ended."),
        ("slots_on_time_total", "on_time", 1, "Slots whose first attempt began in time."),
    ):
        samples = ((task, sums[column] / unit) for task, sums in tasks.items())
        lines += family(name, "counter", said, samples)
    name, said = "last_success_timestamp_seconds", "When the last success began."
    lines += family(name, "gauge", said, timestamps(measured.last_successes))
    return "".join(lines)


def label(name: str) -> str:
    return f'task="{name.translate(ESCAPED)}"'


def by_status(tasks: Mapping[str, Sums]) -> Iterator[Sample]:
    for task, sums in tasks.items():
        for status in FINISHED:
            # Alert rules ask for these; no rate can be seen of a counter that begins at one.
            if (count := sums[status.value]) or status in WENT_WRONG:
                yield f'status="{status.value}",{task}', count


def timestamps(moments: Mapping[str, datetime]) -> Iterator[Sample]:
    for name, moment in moments.items():
        yield label(name), moment.timestamp()


def family(name: str, kind: str, said: str, samples: Iterable[Sample]) -> Iterator[str]:
    """Yield the lines of a metric. Its labels are escaped already."""
    name = f"{PREFIX}{name}"
    yield f"# HELP {name} {said}\n# TYPE {name} {kind}\n"
    for labels, value in samples:
        yield f"{name}{{{labels}}} {value}\n"
