"""The open alerts that a scan judges: all, or some of them after an outage of many tasks."""

from __future__ import annotations

from collections.abc import Collection

from scheduled_tasks.models.alert import Alert, AlertQuerySet
from scheduled_tasks.monitoring.alerts.concerned import columns_of_task
from scheduled_tasks.runtime.conditions import Condition

#: Alerts that one scan judges by rules and reminds of; the next ones go on with the others.
MAX_JUDGED = 2_000
#: What rules and reminders read.
COLUMNS = (
    "condition",
    "severity",
    "subject",
    "open_key",
    "details",
    "reminded_at",
    *columns_of_task(),
    *(
        f"task__state__{name}"
        for name in (
            "next_run_at",
            "last_slot",
            "last_success_at",
            "last_status",
            "consecutive_failures",
            "parked_at",
        )
    ),
)


class OpenAlerts:
    """Reads the open alerts, in the order of their keys, where the last scan left off."""

    def __init__(self) -> None:
        self._after = ""

    def read(self, lasting: Collection[str], *, using: str) -> list[Alert]:
        """Return all alerts of the ``lasting`` conditions, and the next ones of the others."""
        of_lasting = narrow(using).filter(condition__in=lasting)
        others = narrow(using).exclude(condition__in=lasting).order_by("open_key")
        page = list(others.filter(open_key__gt=self._after)[:MAX_JUDGED])
        if self._after and len(page) < MAX_JUDGED:
            page += others.filter(open_key__lte=self._after)[: MAX_JUDGED - len(page)]
        self._after = str(page[-1].open_key) if len(page) == MAX_JUDGED else ""
        return [*of_lasting, *page]


def narrow(using: str) -> AlertQuerySet:
    """Return the open alerts with their tasks and states, and only what a scan reads.

    Conditions that only newer code knows are left to its workers, and to people.
    """
    rows = Alert.objects.using(using).open().filter(condition__in=Condition.values)
    return rows.select_related("task__state").only(*COLUMNS)
