"""Late slots of many tasks: how many are found at a time, and with how many queries."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from scheduled_tasks.lifecycle import claiming, firing
from scheduled_tasks.lifecycle.pausing import begin_pause
from scheduled_tasks.models import Alert, Execution, Task, Worker
from scheduled_tasks.monitoring.alerts.raising import raise_alerts
from scheduled_tasks.monitoring.alerts.scan import ConditionScan, Watched
from scheduled_tasks.monitoring.conditions import late_slots, silence
from scheduled_tasks.monitoring.conditions.later_slots import LateSlot, neighbours
from tests.support.attempts import NOTHING

Make = Callable[..., Task]
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)

pytestmark = pytest.mark.usefixtures("nothing", "notifiers")


def found(find: Callable[..., Any], now: datetime) -> list[str]:
    """Return the tasks that are found, with a live worker."""
    Worker.objects.update(heartbeat_at=now, declaration_digest="tests")
    return [each.task.name for each in find(now, using="default")]


def alerts(condition: str) -> list[str]:
    rows = Alert.objects.filter(condition=condition).order_by("task_name")
    return list(rows.values_list("task_name", flat=True))


def test_slots_far_apart_share_no_query(now: datetime) -> None:
    late = [LateSlot(number, now + number * HOUR, 60) for number in (0, 1, 24, 25, 26, 100)]
    assert [[each.task_id for each in some] for some in neighbours(reversed(late))] == [
        [0, 1, 24],
        [25, 26],
        [100],
    ]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a scan find two tasks at a time, and read two rows."""
    for module in (late_slots, silence):
        monkeypatch.setattr(module, "MAX_FINDINGS", 2)
        monkeypatch.setattr(module, "PAGE_SIZE", 2)


@pytest.mark.parametrize(
    ("condition", "find"),
    [
        ("missed", late_slots.missed),
        ("not_started", late_slots.not_started),
        ("no_success", silence.no_success),
    ],
)
@pytest.mark.usefixtures("few")
def test_each_scan_finds_other_tasks(
    make_task: Make, worker: Worker, now: datetime, condition: str, find: Any
) -> None:
    names = [f"t{number}" for number in range(5)]
    limits: dict[str, Any] = {"start_within": 10, "no_success_for": 60, "misfire_grace": 0}
    for name in names:
        make_task(name, NOTHING, "every 1 hour", **limits)
    Task.objects.update(created_at=now)
    scan, late = ConditionScan([Watched(condition, find, lasts=False)]), now + HOUR + 2 * MINUTE
    Worker.objects.update(heartbeat_at=late, declaration_digest="tests")
    for count in (2, 4, 5, 5):
        scan.run(late)
        assert alerts(condition) == names[:count]


def test_what_waits_in_the_queue_comes_in_pages(
    make_task: Make, worker: Worker, now: datetime, few: None
) -> None:
    for number in range(5):
        on = {"start_within": 10} if number in (1, 4) else {}
        make_task(f"t{number}", NOTHING, "every 1 hour", **on)
    firing.fire(now + HOUR, limit=9)
    assert found(late_slots.not_started, now + HOUR + MINUTE) == ["t1", "t4"]


@pytest.mark.parametrize("excuse", ["paused", "global pause", "unknown handler", "grace", "off"])
def test_the_excused_hide_no_others(
    make_task: Make, worker: Worker, now: datetime, few: None, excuse: str
) -> None:
    others = [make_task(f"a{number}", NOTHING, "every 1 hour").pk for number in range(3)]
    excused = Task.objects.filter(pk__in=others)
    late = now + 2 * HOUR + 2 * MINUTE
    make_task("z", NOTHING, "every 2 hours", anchor=now)
    match excuse:
        case "paused":
            excused.update(paused_until=now + HOUR + SECOND)
        case "global pause":
            begin_pause(now + HOUR, until=now + HOUR + SECOND, by="code")
        case "unknown handler":
            excused.update(handler="jobs.other")
        case "grace":
            excused.update(misfire_grace=7200)
        case "off":
            excused.update(notify_on=["failed"])
    assert found(late_slots.missed, late) == ["z"]


def test_the_end_of_a_pause_excuses_nothing(make_task: Make, worker: Worker, now: datetime) -> None:
    make_task("a", NOTHING, "every 1 hour")
    Task.objects.update(paused_until=now + HOUR)
    begin_pause(now, until=now + HOUR, by="code")
    assert found(late_slots.missed, now + HOUR + 2 * MINUTE) == ["a"]


def test_a_slot_left_behind_is_told_once(make_task: Make, worker: Worker, now: datetime) -> None:
    make_task("a", NOTHING, "every 1 hour", start_within=10, overlap_policy="allow")
    firing.fire(now + HOUR, limit=9)
    Execution.objects.update(queue="nobody's")
    scan = ConditionScan([Watched("not_started", late_slots.not_started, lasts=False)])
    scan.run(now + HOUR + MINUTE)
    firing.fire(now + 2 * HOUR, limit=9)
    claiming.claim(worker, now + 2 * HOUR, limit=9, handlers=[NOTHING], queues=["default"])
    for minutes in (1, 2, 3):
        scan.run(now + 2 * HOUR + minutes * MINUTE)
    [alert] = Alert.objects.all()
    assert alert.cleared_because == "A later slot began in time."


@pytest.mark.parametrize("count", [3, 30])
@pytest.mark.parametrize(
    ("find", "queries"),
    [(late_slots.missed, 4), (late_slots.not_started, 6), (silence.no_success, 5)],
)
def test_many_tasks_take_as_few_queries(
    make_task: Make,
    worker: Worker,
    now: datetime,
    *,
    find: Any,
    queries: int,
    count: int,
    django_assert_max_num_queries: Any,
) -> None:
    for number in range(count):
        make_task(f"t{number}", NOTHING, "every 1 hour", start_within=10, no_success_for=60)
    Task.objects.update(created_at=now)
    Worker.objects.update(heartbeat_at=now + 2 * HOUR, declaration_digest="tests")
    with django_assert_max_num_queries(queries):
        findings = list(find(now + 2 * HOUR, using="default"))
    # What raising reads of the tasks is there.
    with django_assert_max_num_queries(7):
        raise_alerts(findings, now + 2 * HOUR, using="default")
    assert Alert.objects.count() == count
