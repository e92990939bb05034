"""What becomes of slots: misfires, overlap, pauses, windows, jitter, and rows that cover them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from scheduled_tasks import run_task_now
from scheduled_tasks.lifecycle import firing
from scheduled_tasks.lifecycle.pausing import begin_pause, end_pauses
from scheduled_tasks.models import Execution, Task

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
HOURS = timedelta(hours=4)
Make = Callable[..., Task]
#: Slots every five minutes are minutes 5, 10, … after noon.
FIVE = "every 5 minutes"


@pytest.fixture
def make(make_task: Make) -> Make:
    def make(schedule: str = FIVE, **fields: Any) -> Task:
        return make_task("one", "jobs.nothing", schedule, **fields)

    return make


TOGETHER = "It was decided together with later slots, which were run instead."


def fire(moment: datetime) -> int:
    return firing.fire(moment, limit=100)


def rows(now: datetime) -> list[tuple[Any, ...]]:
    """Return (first minute, last minute, slots, status, trigger) of each row, by slot."""
    found = []
    for row in Execution.objects.filter(slot__isnull=False).order_by("slot"):
        last = row.slot_until or row.slot
        first_minute, last_minute = ((moment - now) / MINUTE for moment in (row.slot, last))
        found.append((first_minute, last_minute, row.slots, row.status, row.trigger))
    return found


def taken(minute: float, trigger: str = "schedule") -> tuple[Any, ...]:
    return (minute, minute, 1, "queued", trigger)


def lost(first: float, last: float, slots: int, status: str = "missed") -> tuple[Any, ...]:
    return (first, last, slots, status, "schedule")


def reasons() -> list[str]:
    covered = Execution.objects.filter(slot__isnull=False).order_by("slot")
    return list(covered.values_list("reason", flat=True))


def test_exactly_the_threshold_is_no_misfire(make: Make, now: datetime) -> None:
    make()
    fire(now + 6 * MINUTE)
    assert rows(now) == [taken(5)]


def test_once_catches_up_the_newest_slot(make: Make, now: datetime) -> None:
    make()
    assert fire(now + 22 * MINUTE) == 4
    assert rows(now) == [lost(5, 15, 3), taken(20, "catch_up")]
    assert reasons()[0] == "No scheduler was running; a later slot was run instead."


def test_a_timely_slot_runs_besides_the_catch_up(make: Make, now: datetime) -> None:
    make(overlap_policy="allow")
    fire(now + 20.5 * MINUTE)
    assert rows(now) == [lost(5, 10, 2), taken(15, "catch_up"), taken(20)]


def test_how_late_a_misfire_is_can_be_set(make: Make, now: datetime, settings: Any) -> None:
    settings.SCHEDULED_TASKS = {"MISFIRE_THRESHOLD": 700}
    make(overlap_policy="allow")
    fire(now + 20.5 * MINUTE)
    assert rows(now) == [taken(5, "catch_up"), taken(10), taken(15), taken(20)]


def test_skip_covers_every_misfire(make: Make, now: datetime) -> None:
    task = make(misfire_policy="skip")
    fire(now + 22 * MINUTE)
    assert rows(now) == [lost(5, 20, 4)]
    task.state.refresh_from_db()
    assert task.state.next_run_at == now + 25 * MINUTE


def test_all_catches_up_in_order_within_its_limit(make: Make, now: datetime) -> None:
    make(misfire_policy="all", catch_up_limit=2)
    fire(now + 22 * MINUTE)
    assert rows(now) == [lost(5, 10, 2), taken(15, "catch_up"), taken(20, "catch_up")]
    assert reasons()[0] == "No scheduler was running; only the latest 2 slots were run."
    assert list(Execution.objects.queued().order_by("pk").values_list("slot", flat=True)) == [
        now + 15 * MINUTE,
        now + 20 * MINUTE,
    ]


def test_caught_up_slots_count_against_the_queue(make: Make, now: datetime) -> None:
    make(misfire_policy="all", catch_up_limit=2)
    fire(now + 11.5 * MINUTE)
    fire(now + 21.5 * MINUTE)
    assert [row[3] for row in rows(now)] == ["queued", "queued", "skipped", "queued"]
    assert reasons()[2] == TOGETHER


@pytest.mark.parametrize(
    ("policies", "waiting", "minutes", "reason"),
    [
        ({}, 0, [4], TOGETHER),
        ({}, 1, [], "An earlier execution had not finished."),
        ({"overlap_policy": "buffer_one"}, 0, [3, 4], TOGETHER),
        ({"overlap_policy": "buffer_one"}, 1, [4], TOGETHER),
        ({"overlap_policy": "buffer_all", "catch_up_limit": 2}, 0, [2, 3, 4], TOGETHER),
        ({"overlap_policy": "cancel_other"}, 0, [4], "Replaced by a later slot."),
    ],
)
def test_the_newest_slots_of_one_look_run(
    policies: dict[str, Any],
    waiting: int,
    minutes: list[int],
    reason: str,
    *,
    make: Make,
    now: datetime,
    settings: Any,
) -> None:
    settings.SCHEDULED_TASKS = {"MISFIRE_THRESHOLD": 600}
    make("every 1 minute", **policies)
    for _ in range(waiting):
        run_task_now("one", now=now)
    fire(now + 4.5 * MINUTE)
    queued = [row[0] for row in rows(now) if row[3] == "queued"]
    assert queued == minutes
    assert reasons()[0] == reason


def test_a_timely_slot_comes_before_a_misfire(make: Make, now: datetime) -> None:
    make()
    fire(now + 20.5 * MINUTE)
    assert rows(now) == [lost(5, 10, 2), lost(15, 15, 1, "skipped"), taken(20)]
    assert reasons()[1] == TOGETHER


def test_a_slot_later_than_its_grace_is_missed(make: Make, now: datetime) -> None:
    make(misfire_policy="all", misfire_grace=360, overlap_policy="allow")
    fire(now + 16 * MINUTE)
    assert rows(now) == [lost(5, 5, 1), taken(10, "catch_up"), taken(15)]
    assert reasons()[0] == "Found later than the grace period of 6 minutes allows."


def test_a_grace_shorter_than_the_threshold_holds(make: Make, now: datetime) -> None:
    make(misfire_grace=10)
    fire(now + 5 * MINUTE + 11 * SECOND)
    fire(now + 10 * MINUTE + 10 * SECOND)
    assert rows(now) == [lost(5, 5, 1), taken(10)]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("skip", ["queued", "skipped"]),
        ("buffer_one", ["queued", "queued", "skipped"]),
        ("buffer_all", ["queued", "queued", "queued", "queued", "skipped"]),
        ("allow", ["queued"] * 6),
        ("cancel_other", ["cancelled"] * 5 + ["queued"]),
    ],
)
def test_what_has_not_ended_decides_over_what_comes(
    make: Make, now: datetime, policy: str, expected: list[str]
) -> None:
    make(overlap_policy=policy, catch_up_limit=3)
    for slot in range(1, 7):
        fire(now + slot * 5 * MINUTE)
    assert [row[3] for row in rows(now)] == expected
    assert sum(row[2] for row in rows(now)) == 6


def test_a_requested_run_counts_and_is_not_replaced(make: Make, now: datetime) -> None:
    task = make(overlap_policy="cancel_other")
    asked = Execution.for_task(task, trigger="manual", now=now)
    asked.save()
    fire(now + 5 * MINUTE)
    asked.refresh_from_db()
    assert (asked.status, rows(now)) == ("queued", [taken(5)])
    Task.objects.update(overlap_policy="skip")
    Execution.objects.of_slots().delete()
    fire(now + 10 * MINUTE)
    assert rows(now) == [lost(10, 10, 1, "skipped")]
    assert reasons()[-1] == "An earlier execution had not finished."


def test_only_the_newest_of_simultaneous_slots_cancels(make: Make, now: datetime) -> None:
    make("every 20 seconds", overlap_policy="cancel_other")
    fire(now + MINUTE)
    statuses = list(Execution.objects.order_by("slot").values_list("status", "slots"))
    assert statuses == [("skipped", 2), ("queued", 1)]
    assert reasons()[0] == "Replaced by a later slot."


def test_a_covering_row_grows_with_each_look(make: Make, now: datetime) -> None:
    task = make(paused_until=now + timedelta(days=1), pause_reason="moving house")
    for slot in range(1, 5):
        fire(now + slot * 5 * MINUTE)
    assert rows(now) == [lost(5, 20, 4, "skipped")]
    assert reasons() == ["Paused until 2026-03-02 12:00:00 UTC: moving house"]
    assert Execution.objects.get().finished_at == now + 20 * MINUTE
    task.state.refresh_from_db()
    assert task.state.covering == Execution.objects.get().pk


def test_a_slot_that_runs_ends_the_covering_row(make: Make, now: datetime) -> None:
    make(misfire_policy="skip")
    fire(now + 7 * MINUTE)
    fire(now + 10 * MINUTE)
    Execution.objects.queued().update(status="success")
    fire(now + 17 * MINUTE)
    fire(now + 22 * MINUTE)
    assert [row[:3] for row in rows(now)] == [(5, 5, 1), (10, 10, 1), (15, 20, 2)]


def test_another_reason_begins_another_row(make: Make, now: datetime) -> None:
    make(paused_until=now + 12 * MINUTE, misfire_policy="skip")
    fire(now + 5 * MINUTE)
    fire(now + 22 * MINUTE)
    assert rows(now) == [lost(5, 10, 2, "skipped"), lost(15, 20, 2)]


def test_a_pruned_row_is_not_continued(make: Make, now: datetime) -> None:
    make(misfire_policy="skip")
    fire(now + 7 * MINUTE)
    Execution.objects.all().delete()
    fire(now + 12 * MINUTE)
    assert rows(now) == [lost(10, 10, 1)]


def test_hours_of_paused_seconds_make_one_row(make: Make, now: datetime) -> None:
    task = make("every 1 second", paused_until=now + timedelta(days=31))
    for half in (1, 2):
        fire(now + half * HOURS)
        while fire(now + half * HOURS):
            pass
    row = Execution.objects.get()
    assert (row.slot, row.slot_until) == (now + SECOND, now + 2 * HOURS)
    assert row.slots == 8 * 3_600
    task.state.refresh_from_db()
    assert task.state.next_run_at == row.slot_until + SECOND


def test_a_global_pause_skips_slots_until_resumed(make: Make, now: datetime) -> None:
    make()
    begin_pause(now + 7 * MINUTE, reason="maintenance", by="cli:ada")
    fire(now + 10 * MINUTE)
    end_pauses(now + 12 * MINUTE)
    fire(now + 15 * MINUTE)
    assert rows(now) == [
        taken(5, "catch_up"),
        lost(10, 10, 1, "skipped"),
        lost(15, 15, 1, "skipped"),
    ]
    assert reasons()[1:] == [
        "All tasks paused: maintenance",
        "An earlier execution had not finished.",
    ]


def test_a_backlog_is_decided_in_several_transactions(
    make: Make, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firing, "MAX_SLOTS_PER_TRANSACTION", 3)
    make("every 1 minute", overlap_policy="buffer_all")
    looks = 0
    while fire(now + 12 * MINUTE):
        looks += 1
    assert looks > 1
    assert rows(now) == [
        lost(1, 9, 9),
        taken(10, "catch_up"),
        taken(11),
        taken(12),
    ]


def test_hardly_late_slots_go_before_a_backlog(
    make_task: Make, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firing, "MAX_SLOTS_PER_TRANSACTION", 10)
    for name in ("backlog", "another-backlog"):
        make_task(name, "jobs.nothing", "every 1 minute", misfire_policy="skip")
    make_task("hardly-late", "jobs.nothing", "every 30 minutes")
    assert fire(now + 30 * MINUTE) == 11
    assert set(Execution.objects.values_list("task_name", flat=True)) == {"hardly-late", "backlog"}
    assert [fire(now + 30 * MINUTE) for _ in range(6)] == [10, 10, 10, 10, 10, 0]


@pytest.mark.parametrize("limit", [1, 3, 8, 100])
def test_a_catch_up_limit_above_the_batch_holds(
    make: Make, now: datetime, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(firing, "MAX_SLOTS_PER_TRANSACTION", 3)
    make("every 1 minute", misfire_policy="all", catch_up_limit=limit, overlap_policy="allow")
    while fire(now + 20 * MINUTE):
        pass
    misfires = 18
    caught_up = Execution.objects.filter(trigger="catch_up").order_by("pk")
    expected = [now + n * MINUTE for n in range(1, misfires + 1)][-limit:]
    assert list(caught_up.values_list("slot", flat=True)) == expected
    assert sum(row[2] for row in rows(now)) == 20


def test_a_window_includes_its_start_not_its_end(make: Make, now: datetime) -> None:
    task = make(starts_at=now + 10 * MINUTE, ends_at=now + 20 * MINUTE, overlap_policy="allow")
    assert task.state.next_run_at == now + 10 * MINUTE
    fire(now + 10 * MINUTE)
    fire(now + 60 * MINUTE)
    assert rows(now) == [taken(10), taken(15, "catch_up")]
    task.state.refresh_from_db()
    assert task.state.next_run_at is None


def test_jitter_depends_on_task_and_slot(make: Make, now: datetime) -> None:
    task = make("every 1 minute", jitter=3600, overlap_policy="allow")
    for minute in range(1, 31):
        fire(now + minute * MINUTE)
    delays = {row.slot: row.run_after - row.slot for row in Execution.objects.all()}
    assert all(timedelta() <= delay < MINUTE for delay in delays.values())
    assert len(set(delays.values())) == 30
    assert max(delays.values()) > 45 * SECOND
    assert [task.jitter_at(slot) for slot in delays] == list(delays.values())


def test_jitter_is_the_same_on_every_machine(make: Make, now: datetime) -> None:
    assert make("every 1 hour", jitter=3600).jitter_at(now) == timedelta(
        seconds=641, microseconds=398570
    )


def test_jitter_moves_neither_slot_nor_clock(make: Make, now: datetime) -> None:
    task = make(jitter=60)
    fire(now + 5 * MINUTE)
    row = Execution.objects.get()
    assert (row.slot, row.scheduled_for) == (now + 5 * MINUTE, now + 5 * MINUTE)
    task.state.refresh_from_db()
    assert task.state.next_run_at == now + 10 * MINUTE


def test_the_log_reports_skipped_and_warns_of_missed(
    make: Make, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    make(misfire_policy="skip", overlap_policy="skip")
    with caplog.at_level("INFO", logger="scheduled_tasks"):
        fire(now + 12 * MINUTE)
        fire(now + 15 * MINUTE)
        fire(now + 20 * MINUTE)
        fire(now + 25 * MINUTE)  # the row that stands there already covers this one too
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said == [
        (
            "WARNING",
            (
                "missed task=one slots=2 from=2026-03-01T12:05:00+00:00 "
                "until=2026-03-01T12:10:00+00:00: No scheduler was running."
            ),
        ),
        (
            "INFO",
            (
                "skipped task=one slots=1 from=2026-03-01T12:20:00+00:00 "
                "until=2026-03-01T12:20:00+00:00: An earlier execution had not finished."
            ),
        ),
    ]
