"""``checkscheduler`` for a test of a database that hangs."""

from __future__ import annotations

from functools import partial
from typing import Any
from unittest.mock import patch

from scheduled_tasks.management.commands import checkscheduler
from scheduled_tasks.monitoring.health.check import check_health

#: Seconds that it waits for the answer.
ANSWER_SECONDS = 0.2


class Command(checkscheduler.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        impatient = partial(check_health, within=ANSWER_SECONDS)
        with patch.object(checkscheduler, "check_health", impatient):
            super().handle(*args, **options)
