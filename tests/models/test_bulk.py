"""Rows of different values are written as they were given, one by one or all together."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from scheduled_tasks.lifecycle.decisions import Taken
from scheduled_tasks.lifecycle.firing import slot_values
from scheduled_tasks.models import Execution, Task
from scheduled_tasks.models.sql.bulk import insert_copies, update_each
from tests.support.attempts import NOTHING

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

KEY = Execution._meta.get_field("task")
#: What has gone wrong on its way into some database: quotes, placeholders, escapes, other scripts.
HARD_TEXT = (
    "50 % of 'it' \"quoted\" \\n back\\slash %s %(x)s {} $1 \N{SNOWMAN} \N{PILE OF POO}\n\ttab"
)


@pytest.fixture
def rows(make_task: Callable[..., Task], now: datetime) -> list[Execution]:
    """Return executions of one task, queued."""
    task = make_task("one", NOTHING)
    made = [Execution.for_task(task, trigger="manual", now=now) for _ in range(5)]
    for row in made:
        row.save()
    return made


def update(rows: list[Execution], values: list[dict[str, Any]]) -> int:
    """Write values of rows, each guarded by its id and status."""
    pairs = [(v, {"id": r.pk, "status": r.status}) for r, v in zip(rows, values, strict=True)]
    return update_each(Execution, pairs, using="default")


def test_every_row_gets_exactly_its_own_values(rows: list[Execution], now: datetime) -> None:
    values = [
        {
            "result": result,
            "error": text,
            "finished_at": moment,
            "duration_ms": number,
            "test_mode": flag,
            "exclusive": number,
            "status": "running",
        }
        for result, text, moment, number, flag in [
            ({"a": [1, None, {"b": HARD_TEXT}]}, HARD_TEXT, now, 2**63 - 1, True),
            ("text", "", now + timedelta(microseconds=1), 0, False),
            (None, " ", None, None, True),
            ([], "null", now.replace(year=9999), 1, False),
            (1.5, "x" * 10_000, now.replace(year=1), 2, False),
        ]
    ]
    assert update(rows, values) == 5
    for row, given in zip(rows, values, strict=True):
        row.refresh_from_db()
        assert {name: getattr(row, name) for name in given} == given


def test_a_row_that_has_moved_on_is_left(rows: list[Execution]) -> None:
    Execution.objects.filter(pk=rows[1].pk).update(status="running")
    assert update(rows, [{"status": "skipped", "reason": str(n)} for n in range(5)]) == 4
    statuses = Execution.objects.order_by("pk").values_list("status", "reason")
    assert list(statuses) == [
        ("skipped", "0"),
        ("running", ""),
        ("skipped", "2"),
        ("skipped", "3"),
        ("skipped", "4"),
    ]


def test_values_all_rows_share_are_written_to_each(rows: list[Execution]) -> None:
    assert update(rows[:3], [{"reason": HARD_TEXT, "result": {"same": None}}] * 3) == 3
    written = Execution.objects.exclude(reason="").values_list("reason", "result")
    assert list(written) == [(HARD_TEXT, {"same": None})] * 3


def test_what_python_takes_for_equal_is_told_apart(rows: list[Execution]) -> None:
    results = [1, True, {"ok": 1}, {"ok": True}, {"ok": 1.0}]
    update(rows, [{"result": result} for result in results])
    written = Execution.objects.order_by("pk").values_list("result", flat=True)
    assert [repr(result) for result in written][:4] == [repr(result) for result in results][:4]


def test_nothing_to_write_asks_the_database_nothing() -> None:
    with CaptureQueriesContext(
        connection,
    ) as asked:
        assert update_each(Execution, [], using="default") == 0
        insert_copies(KEY, [], copied={}, shared={}, using="default")
    assert not asked.captured_queries


def test_copies_have_source_columns_and_model_defaults(
    make_task: Callable[..., Task], now: datetime
) -> None:
    payload = {"n": 3, "text": HARD_TEXT}
    tasks = [make_task(name, NOTHING, queue=name, priority=7) for name in ("two", "one")]
    Task.objects.update(payload=payload)
    insert(tasks, now)
    by_hand = Execution.for_task(
        Task.objects.get(name="two"), trigger="schedule", now=now, slot=now
    )
    copies = list(Execution.objects.order_by("pk"))
    assert [copy.task_name for copy in copies] == ["two", "one"], "in the given order"
    for field in Execution._meta.concrete_fields:
        if field.attname != "id":
            assert getattr(copies[0], field.attname) == getattr(by_hand, field.attname), field


def test_copying_leaves_out_existing_slots_and_missing_tasks(
    make_task: Callable[..., Task], now: datetime
) -> None:
    task, gone = make_task("one", NOTHING), make_task("gone", NOTHING)
    insert([task], now)
    Task.objects.filter(pk=gone.pk).delete()
    other = make_task("other", NOTHING)
    insert([task, gone, other], now)
    names = Execution.objects.order_by("pk").values_list("task_name", flat=True)
    assert list(names) == ["one", "other"]


def test_postgresql_takes_all_rows_in_one_statement(rows: list[Execution], now: datetime) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("Other databases execute one statement for each row.")
    with CaptureQueriesContext(connection) as asked:
        update(rows, [{"duration_ms": number} for number in range(5)])
        insert([row.task for row in rows[:1]], now)
    assert len(asked) == 2


def insert(tasks: list[Task], slot: datetime) -> None:
    """Insert an execution of a slot for each task."""
    insert_copies(
        KEY,
        [slot_values(task.state, Taken(slot)) for task in tasks],
        copied=Execution.SNAPSHOTS,
        shared={"created_at": slot},
        using="default",
    )
