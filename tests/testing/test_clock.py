"""Moving the clock: what comes due is run at its moment, and nobody waits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scheduled_tasks import (
    Interval,
    Retry,
    RetryLater,
    Skip,
    TaskContext,
    declare,
    get_task,
    register_task,
    run_task_now,
    scheduled_task,
)
from scheduled_tasks.lifecycle.parking import park
from scheduled_tasks.lifecycle.pausing import begin_pause
from scheduled_tasks.models import Execution, Task, TaskState
from scheduled_tasks.testing import TaskClock
from scheduled_tasks.testing import clock as clock_module

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.any_database,
    pytest.mark.usefixtures("registry"),
]

MARCH = datetime(2026, 3, 1, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


def test_a_daily_task_over_a_month() -> None:
    seen: list[datetime] = []

    @scheduled_task("0 2 * * *", name="nightly", executor="process")
    def nightly(context: TaskContext) -> None:
        seen.append(context.scheduled_for)

    clock = TaskClock(MARCH)
    assert clock.now == MARCH
    ended = clock.move_to("2026-04-01 00:00+00:00")
    assert seen == [datetime(2026, 3, day, 2, tzinfo=UTC) for day in range(1, 32)]
    assert [row.slot for row in ended] == seen
    assert clock.now == utc("2026-04-01 00:00")
    for row in ended:
        assert row.status == "success"
        assert row.slot == row.run_after == row.created_at == row.claimed_at
        assert row.slot == row.started_at == row.finished_at
    state = TaskState.objects.get()
    assert (state.execution_count, state.last_success_at) == (31, seen[-1])
    assert state.next_run_at == utc("2026-04-01 02:00")


def test_a_night_in_which_clocks_are_changed() -> None:
    @scheduled_task("30 2 * * *", name="nightly", timezone="Europe/Berlin")
    def nightly() -> None: ...

    clock = TaskClock("2026-03-28 00:00+00:00")
    slots = [row.slot for row in clock.move_by(days=3)]
    assert slots == [utc("2026-03-28 01:30"), utc("2026-03-29 01:00"), utc("2026-03-30 00:30")]
    clock = TaskClock("2026-10-24 00:00+00:00")
    slots = [row.slot for row in clock.move_by(timedelta(days=3))]
    assert slots == [utc("2026-10-24 00:30"), utc("2026-10-25 00:30"), utc("2026-10-26 01:30")]


def test_tasks_run_in_the_order_of_their_moments() -> None:
    order: list[tuple[str, int]] = []

    @scheduled_task("0 3 * * *", name="report")
    def report(context: TaskContext) -> None:
        order.append((context.task_name, context.scheduled_for.hour))

    declare(report, "0 */2 * * *", name="often")
    declare(report, "0 2 * * *", name="urgent", priority=5)
    ended = TaskClock("2026-03-01 01:00+00:00").move_to("2026-03-01 04:00+00:00")
    expected = [("urgent", 2), ("often", 2), ("report", 3), ("often", 4)]
    assert order == expected
    assert [(row.task_name, row.slot.hour) for row in ended if row.slot] == expected


def test_a_move_returns_what_was_not_returned_before() -> None:
    @scheduled_task("0 * * * *", name="hourly")
    def hourly() -> None: ...

    clock = TaskClock(MARCH)
    assert clock.move_by(minutes=59) == []
    [first] = clock.move_by(minutes=1)
    assert first.slot == utc("2026-03-01 01:00")
    assert clock.move_by(seconds=0) == []
    assert [row.slot for row in clock.move_to("2026-03-01 02:00+00:00")] == [
        utc("2026-03-01 02:00")
    ]


def test_it_is_not_moved_back() -> None:
    clock = TaskClock(MARCH)
    clock.move_by(hours=1)
    with pytest.raises(ValueError, match="cannot be moved back to 2026-03-01 00:00:00"):
        clock.move_to(MARCH)


def test_a_failure_is_tried_again_after_its_delay() -> None:
    seen: list[int] = []

    @scheduled_task("0 2 * * *", name="flaky", retry=Retry(max_retries=3, delay=600))
    def flaky(context: TaskContext) -> str:
        seen.append(context.attempt)
        if context.attempt < 3:
            raise ConnectionError("no answer")
        return "done"

    clock = TaskClock(MARCH)
    assert clock.move_to("2026-03-01 02:09+00:00") == []
    assert seen == [1]
    [row] = clock.move_by(hours=1)
    assert (row.status, row.result, row.attempt, row.failures) == ("success", "done", 3, 2)
    waited = row.started_at - utc("2026-03-01 02:00")
    assert timedelta(minutes=30) <= waited <= timedelta(minutes=33)
    assert TaskState.objects.get().consecutive_failures == 0


def test_a_run_to_be_retried_later_runs_then() -> None:
    @scheduled_task("0 2 * * *", name="later")
    def later(context: TaskContext) -> None:
        if context.attempt == 1:
            raise RetryLater(timedelta(hours=5))

    [row] = TaskClock(MARCH).move_by(hours=8)
    assert (row.started_at, row.failures) == (utc("2026-03-01 07:00"), 0)


def test_endless_immediate_retries_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    @scheduled_task("0 2 * * *", name="never")
    def never() -> None:
        raise RetryLater(0)

    monkeypatch.setattr(clock_module, "MAX_TICKS", 20)
    with pytest.raises(RuntimeError, match=r"never end\. .* RetryLater\(0\)"):
        TaskClock(MARCH).move_by(hours=8)


def test_ways_to_end_count_for_the_next_run() -> None:
    @scheduled_task("0 * * * *", name="play")
    def play(context: TaskContext) -> list[Any]:
        match context.scheduled_for.hour:
            case 1:
                return []
            case 2:
                raise ValueError("no luck")
            case 3:
                raise Skip
        return [context.execution_count, context.last_success_at]

    ended = TaskClock(MARCH).move_by(hours=4)
    assert [row.status for row in ended] == ["success", "failed", "skipped", "success"]
    assert ended[-1].result == [3, "2026-03-01T01:00:00Z"]


def test_test_mode_counts_for_nothing_beside_the_schedule() -> None:
    @scheduled_task("0 2 * * *", name="play")
    def play(context: TaskContext) -> bool:
        return context.test_mode

    clock = TaskClock(MARCH)
    run_task_now("play", test_mode=True, now=clock.now)
    ended = clock.move_by(hours=3)
    assert [(row.test_mode, row.result, row.trigger) for row in ended] == [
        (True, True, "manual"),
        (False, False, "schedule"),
    ]
    assert TaskState.objects.get().execution_count == 1


def test_intervals_count_from_the_beginning_unless_anchored() -> None:
    anchor = datetime(2026, 2, 1, 0, 20, tzinfo=UTC)

    @scheduled_task("every 45 minutes", name="often")
    def often() -> None: ...

    declare(often, Interval(timedelta(hours=1), anchor=anchor), name="anchored")
    register_task("by-hand", "often", "every 50 minutes")
    ended = TaskClock("2026-03-01 00:00:30+00:00").move_by(hours=1)
    assert [(row.task_name, f"{row.slot:%H:%M:%S}") for row in ended] == [
        ("anchored", "00:20:00"),
        ("often", "00:45:30"),
        ("by-hand", "00:50:30"),
    ]


def test_a_clock_may_stand_in_the_future() -> None:
    @scheduled_task("every 1 day", name="daily")
    def daily() -> None: ...

    [row] = TaskClock("2040-01-01 00:00+00:00").move_by(days=1)
    assert row.started_at == utc("2040-01-02 00:00")


def test_another_clock_may_begin_before() -> None:
    @scheduled_task("0 2 * * *", name="nightly")
    def nightly() -> None: ...

    for year in (2030, 2026):
        clock = TaskClock(datetime(year, 3, 1, tzinfo=UTC))
        assert [row.slot for row in clock.move_by(days=1)] == [datetime(year, 3, 1, 2, tzinfo=UTC)]
    assert TaskClock(MARCH).move_by(days=1) == []  # that slot has run


def test_disabled_and_parked_tasks_do_not_fire() -> None:
    @scheduled_task("0 * * * *", name="hourly")
    def hourly() -> None: ...

    declare(hourly, "0 * * * *", name="off", enabled=False)
    clock = TaskClock(MARCH)
    park(get_task("hourly").state, "Enough.", clock.now, using="default")
    assert clock.move_by(hours=3) == []


def test_a_pause_skips_slots_and_delays_requested_runs() -> None:
    @scheduled_task("0 * * * *", name="hourly")
    def hourly() -> None: ...

    register_task("by-hand", "hourly")
    clock = TaskClock(MARCH)
    begin_pause(clock.now, until=utc("2026-03-01 02:30"), reason="Stocktaking")
    run_task_now("by-hand", now=clock.now)
    ended = clock.move_by(hours=3)
    assert [(row.task_name, row.status, row.slots, row.started_at) for row in ended] == [
        ("hourly", "skipped", 2, None),
        ("by-hand", "success", 1, utc("2026-03-01 02:30")),
        ("hourly", "success", 1, utc("2026-03-01 03:00")),
    ]


def test_changes_by_hand_use_the_clocks_moment() -> None:
    @scheduled_task("0 * * * *", name="hourly")
    def hourly() -> None: ...

    clock = TaskClock(MARCH)
    assert len(clock.move_by(hours=2)) == 2
    get_task("hourly").switch(enabled=False, now=clock.now)
    assert clock.move_by(hours=2) == []
    get_task("hourly").switch(enabled=True, now=clock.now)
    assert [row.slot for row in clock.move_by(hours=1)] == [utc("2026-03-01 05:00")]


def test_jitter_moves_the_start_not_the_slot() -> None:
    @scheduled_task("0 * * * *", name="hourly", jitter=600)
    def hourly(context: TaskContext) -> str:
        return f"{context.scheduled_for:%H:%M}"

    [row] = TaskClock(MARCH).move_by(minutes=80)
    assert row.result == "01:00"
    assert row.slot < row.run_after == row.started_at


def test_what_was_there_before_is_not_returned(make_task: Callable[..., Task]) -> None:
    @scheduled_task("0 * * * *", name="hourly")
    def hourly() -> None: ...

    clock = TaskClock(MARCH)
    old = Execution.for_task(get_task("hourly"), trigger="manual", now=MARCH)
    old.status, old.finished_at = "success", datetime.now(UTC)
    old.save()
    assert old not in clock.move_by(hours=1)
