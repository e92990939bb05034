"""The handler that scheduled-tasks runs in the benchmarks."""

from __future__ import annotations

from benchmarks import marks
from scheduled_tasks import scheduled_task


@scheduled_task
def mark(*, due: float) -> None:
    """Leave a mark and do nothing else."""
    marks.leave(due)
