"""What a handler is told about the run that it is part of."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskContext:
    """Facts about one attempt, handed to a handler that asks for them.

    A handler asks by naming a parameter ``context`` or by annotating any parameter with this
    class. ``scheduled_for`` is the slot of a scheduled run and the moment of asking of one
    started by hand; do date arithmetic with it, never with the clock, so that a late run does
    the work of its own slot. ``attempt`` counts from 1.
    """

    task_name: str
    execution_id: int
    attempt: int
    scheduled_for: datetime
    trigger: str
    schedule: str = ""
    triggered_by: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict)

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """Return a logger whose records carry the task and the execution as extras."""
        logger = logging.getLogger(f"scheduled_tasks.run.{self.task_name}")
        return logging.LoggerAdapter(
            logger, {"task": self.task_name, "execution": self.execution_id}
        )
