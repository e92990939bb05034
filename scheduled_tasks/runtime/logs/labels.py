"""Labels log records with the run that they come from, for the project's own formatters."""

from __future__ import annotations

import logging

from scheduled_tasks.runtime.logs.current_run import current_log
from scheduled_tasks.runtime.logs.logging_internals import all_handlers
from scheduled_tasks.runtime.runs import Run


class RunFilter(logging.Filter):
    """Accepts every record, and adds the run that it comes from.

    ``%(run)s`` is ``task=cleanup execution=4711`` in a run and "" elsewhere; ``task``,
    ``execution`` and ``attempt`` are attributes of the records of runs.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        known, log = record.__dict__, current_log()
        labels = labels_of(log.run) if log else known
        if "task" in labels and "execution" in labels:
            known.setdefault("run", f"task={labels['task']} execution={labels['execution']}")
        # A format with %(run)s must not fail outside runs.
        known.setdefault("run", "")
        if log:
            for name, value in labels.items():
                # What the caller has given as an extra stays.
                known.setdefault(name, value)
        return True


LABELS = RunFilter()


def labels_of(run: Run) -> dict[str, str | int]:
    """Return the attributes that identify the records of a run."""
    return {"task": run.task_name, "execution": run.execution_id, "attempt": run.attempt}


def label_all() -> None:
    for handler in all_handlers():
        if LABELS not in handler.filters:
            handler.addFilter(LABELS)
