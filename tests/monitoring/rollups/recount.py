"""What the history says about tasks, counted row by row, to compare with the rollups."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from scheduled_tasks.models import Execution
from scheduled_tasks.monitoring.rollups import histograms
from scheduled_tasks.runtime.statuses import FINISHED, OF_SLOTS


@dataclass
class Recount:
    """The figures of a task, by names of columns of Rollup."""

    figures: dict[str, Any] = field(default_factory=lambda: {"retries": {}, "durations": {}})

    def add(self, name: str, number: int) -> None:
        self.figures[name] = self.figures.get(name, 0) + number

    def count(self, row: Execution) -> None:
        if row.finished:
            self.count_final(row)
        first = row if row.attempt == 1 and row.finished else row.attempts.filter(number=1).first()
        if row.trigger in OF_SLOTS and first is not None and first.started_at is not None:
            self.add("started", 1)

    def count_final(self, row: Execution) -> None:
        self.add(row.status, row.slots)
        self.add("processed", row.processed_count)
        self.add("errors", row.error_count)
        if row.attempt > 1:
            histograms.merge(self.figures["retries"], {str(min(row.attempt - 1, 20)): 1})
        if row.duration_ms is not None and row.status in ("success", "partial", "failed"):
            histograms.add(self.figures["durations"], row.duration_ms)
            self.add("duration_sum_ms", row.duration_ms)


def recounted(task_id: int) -> dict[str, Any]:
    """Return the figures of a task by its history."""
    recount = Recount()
    for row in Execution.objects.filter(task=task_id, test_mode=False):
        recount.count(row)
    return {
        **dict.fromkeys([*FINISHED, "processed", "errors", "started", "duration_sum_ms"], 0),
        **recount.figures,
    }
