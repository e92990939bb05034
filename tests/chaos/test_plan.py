"""The plan: tasks of every kind, and their slots."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise, product

from tests.chaos.plan import EXECUTORS, HANDLERS, LASTS, MINUTE, OVERLAPS, plan

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_a_seed_repeats_tasks_of_every_kind() -> None:
    tasks = plan(1, NOON, 120)
    assert tasks == plan(1, NOON, 120) != plan(2, NOON, 120)
    assert len({task.name for task in tasks}) == len(tasks) >= 200
    kinds = {(task.handler, task.overlap, task.executor) for task in tasks}
    assert kinds == {
        (handler, overlap, executor)
        for handler, overlap, executor in product(HANDLERS, OVERLAPS, EXECUTORS)
        if executor == "process" or not HANDLERS[handler][1]
    }


def test_slots_are_equally_spaced_or_at_whole_minutes() -> None:
    begin = NOON + timedelta(seconds=30)
    for task in plan(1, begin, 120):
        first = NOON + timedelta(minutes=1) if task.every == MINUTE else begin
        slots = task.slots()
        assert slots[0] == first
        distances = {after - before for before, after in pairwise(slots)}
        assert distances == {timedelta(seconds=task.every)}
        assert slots[-1] < task.ends_at <= slots[-1] + timedelta(seconds=task.every)


def test_what_lasts_overlaps_where_it_may() -> None:
    lasting = [task for task in plan(1, NOON, 120) if task.handler == "lasting"]
    assert {task.every < LASTS for task in lasting if task.may_overlap} == {True}
    assert {task.every < LASTS for task in lasting if not task.may_overlap} == {False}
