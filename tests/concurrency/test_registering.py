"""``register_task`` in several processes at once, as when replicas start."""

from __future__ import annotations

import pytest
from django.db import connection

from scheduled_tasks.models import Task, TaskChange, TaskState
from tests.concurrency.racer import racers
from tests.concurrency.registrations import HANDLER
from tests.support.processes import environment_of

pytestmark = pytest.mark.django_db(transaction=True)

PROCESSES, NAMES = 6, 30


@pytest.mark.long
def test_racing_registrations_all_succeed_with_one_row() -> None:
    with racers(PROCESSES, environment_of(), moves="tests.concurrency.registrations") as racing:
        names = [f"tenant-{number}" for number in range(NAMES)]
        done = racing.race(*(("register", names, number, 0) for number in range(PROCESSES)))
        assert [raised for raised, _ in done] == [""] * PROCESSES
        assert sorted(Task.objects.values_list("name", flat=True)) == sorted(names)
        assert TaskState.objects.exclude(next_run_at=None).count() == NAMES
        assert TaskChange.objects.filter(action="created").count() == NAMES
        assert {task.handler for task in Task.objects.all()} == {HANDLER}

        # SQLite refuses a transaction that has read before another one wrote.
        if connection.vendor == "postgresql":
            names = [f"inside-{name}" for name in names]
            runs = [("register_in_transactions", names, number, 0) for number in range(PROCESSES)]
            assert [raised for raised, _ in racing.race(*runs)] == [""] * PROCESSES
            assert Task.objects.filter(name__in=names).count() == NAMES

        names = [f"deleted-{name}" for name in names]
        runs = [("register_and_unregister", names, number, 0) for number in range(PROCESSES)]
        assert [raised for raised, _ in racing.race(*runs)] == [""] * PROCESSES
        assert TaskState.objects.count() == Task.objects.count()
