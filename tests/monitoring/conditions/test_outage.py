"""A day without schedulers: each slot is accounted for, each task that missed some told once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import islice, product
from typing import Any

import pytest

from scheduled_tasks.lifecycle import claiming, ending, firing
from scheduled_tasks.models import Alert, Delivery, Execution, Task, Worker
from scheduled_tasks.monitoring.alerts.scan import ConditionScan
from scheduled_tasks.runtime.statuses import OF_SLOTS
from tests.support.attempts import NOTHING, outcome

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
#: In minutes; how the day of the outage is divided by the slots of a task.
EVERY = (20, 60, 480)
MISFIRES, OVERLAPS = ("once", "skip", "all"), ("skip", "buffer_one", "cancel_other", "allow")
GRACES = (None, 30, 600)
#: Who is told, and who not: paused until the middle of the day, or until its end.
FATES = ("", "", "", "paused-in-the-morning", "paused", "disabled")
COUNT = 100

pytestmark = pytest.mark.usefixtures("nothing", "notifiers")


def make_tasks(make_task: Callable[..., Task], now: datetime) -> dict[str, int]:
    """Make tasks of all kinds; return the minutes between their slots by their names."""
    kinds = islice(product(EVERY, MISFIRES, OVERLAPS, GRACES), COUNT)
    made = {}
    for number, (every, misfire, overlap, grace) in enumerate(kinds):
        fate = FATES[number % len(FATES)]
        name = f"{number}-{fate}".strip("-")
        fields: dict[str, Any] = {
            "misfire_policy": misfire,
            "overlap_policy": overlap,
            "misfire_grace": grace,
            "notify_on": ["missed"],
        }
        if "paused" in fate:
            fields["paused_until"] = now + (DAY / 2 if "morning" in fate else 2 * DAY)
        task = make_task(name, NOTHING, f"every {every} minutes", **fields)
        if fate == "disabled":
            task.enabled = False
            task.save(now=now)
        made[name] = every
    return made


@pytest.mark.any_database
def test_a_day_without_schedulers_is_accounted_for(
    make_task: Callable[..., Task], worker: Worker, now: datetime
) -> None:
    tasks = make_tasks(make_task, now)
    assert len(tasks) == COUNT
    # Every slot is late by a minute and more.
    back = now + DAY + 2 * MINUTE
    Worker.objects.update(started_at=back, heartbeat_at=back, declaration_digest="tests")
    scans = [ConditionScan(), ConditionScan()]
    scans[0].run(back)
    while fired := firing.fire(back, limit=30):
        assert fired
        for scan in scans:
            scan.run(back)
    run_all(worker, back)
    scans[0].run(back + MINUTE)
    for name, every in tasks.items():
        check_slots(name, every, now)
    told = Counter(Alert.objects.values_list("condition", "task_name"))
    assert told == {("missed", name): 1 for name in tasks if is_told(name)}
    assert Delivery.objects.filter(event="raised").count() == 2 * len(told)


def is_told(name: str) -> bool:
    return not name.endswith(("paused", "disabled"))


def run_all(worker: Worker, now: datetime) -> None:
    """Run what is queued, until nothing is."""
    while rows := claiming.claim(worker, now, limit=50, handlers=[NOTHING]).rows:
        ending.end([outcome(row, now) for row in rows], worker, now)


def check_slots(name: str, every: int, now: datetime) -> None:
    """Check that each slot of the day has an execution or lies in one covering row."""
    slots = [now + number * every * MINUTE for number in range(1, 24 * 60 // every + 1)]
    rows = Execution.objects.filter(task_name=name, trigger__in=OF_SLOTS)
    assert all(row.finished_at is not None for row in rows)
    found = Counter(
        slot for row in rows for slot in slots if row.slot <= slot <= (row.slot_until or row.slot)
    )
    expected = [] if name.endswith("disabled") else slots
    assert found == dict.fromkeys(expected, 1), name
