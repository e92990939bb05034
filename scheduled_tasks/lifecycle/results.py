"""What the ends of executions change on the states of their tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from scheduled_tasks.lifecycle import alerting
from scheduled_tasks.lifecycle.alerting import CountedResult
from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.sql.bulk import update_each
from scheduled_tasks.models.task_state import TaskState


def count_results(
    ended: Iterable[Execution], states: Mapping[int, TaskState], now: datetime, *, using: str
) -> None:
    """Write how executions ended on the locked states of their tasks, within a transaction.

    Runs in test mode do not count.
    """
    touched: dict[int, TaskState] = {}
    results: list[CountedResult] = []
    for row in ended:
        if row.task_id is not None and row.task_id in states and not row.test_mode:
            state = touched[row.task_id] = states[row.task_id]
            failures = state.consecutive_failures
            count_result(state, row)
            results.append(CountedResult(row, failures, state.consecutive_failures))
    changes = (
        ({name: getattr(state, name) for name in TaskState.RESULT_FIELDS}, {"task_id": state.pk})
        for state in touched.values()
    )
    update_each(TaskState, changes, using=using)
    alerting.results_counted(results, now, using=using)


def count_result(state: TaskState, execution: Execution) -> None:
    state.last_run_at = execution.started_at
    state.last_status = execution.status
    state.execution_count += 1
    if execution.succeeded:
        state.consecutive_failures = 0
        if execution.status == execution.Status.SUCCESS and execution.started_at is not None:
            # Of runs side by side, the one that began first may end last.
            known = state.last_success_at or execution.started_at
            state.last_success_at = max(known, execution.started_at)
    elif execution.status == execution.Status.FAILED:
        # A run that was skipped or cancelled neither ends nor continues a series of failures.
        state.consecutive_failures += 1
