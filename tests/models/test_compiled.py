"""Queries that are built once find what they would if they were built each time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from datetime import datetime, timedelta

import django
import pytest
from django.db import connection, connections, models
from django.test.utils import CaptureQueriesContext

from scheduled_tasks.lifecycle import firing
from scheduled_tasks.models import Task, TaskState
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.compiled import CompiledQuery, first_values
from tests.support.attempts import NOTHING

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

Make = Callable[..., Task]
SECOND = timedelta(seconds=1)


class Counted:
    """A query that says how often it was built."""

    def __init__(self) -> None:
        self.built = 0

    def __call__(
        self, rows: models.QuerySet[Task], *, names: Collection[str], limit: int
    ) -> models.QuerySet[Task]:
        """Return the first tasks with one of these names, with their states."""
        self.built += 1
        found = rows.filter(AnyOf("name", names)).select_related("state").only("name", "state")
        return found.order_by("name")[:limit]


@pytest.fixture
def tasks(make_task: Make) -> list[Task]:
    """Return five tasks."""
    return [make_task(name, NOTHING) for name in "abcde"]


def test_a_query_is_compiled_once_for_all_calls(tasks: list[Task]) -> None:
    build = Counted()
    query = CompiledQuery(build, "names")
    every = Task.objects.using("default")
    for names in (["a", "c"], ["d"], [], ["b", "e", "x"]):
        found = query.rows(every, names=names, limit=5)
        assert [task.name for task in found] == [name for name in names if name != "x"]
    assert build.built == (1 if connection.vendor == "postgresql" else 4)
    with CaptureQueriesContext(connection) as asked:
        [first] = query.rows(every, names=["a"], limit=5)
        assert first.state.pk == first.pk == tasks[0].pk
        assert first.get_deferred_fields() >= {"handler", "payload"}
    assert len(asked) == 1


def test_it_is_about_every_row_whatever_asks_first(tasks: list[Task]) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("On other databases it is built each time, of the rows that ask.")
    query = CompiledQuery(Counted(), "names")
    for rows in (Task.objects.using("default").filter(name="a"), Task.objects.using("default")):
        assert len(query.rows(rows, names=["a", "b"], limit=5)) == 2


def test_what_changes_the_sql_is_built_anew(tasks: list[Task]) -> None:
    query = CompiledQuery(Counted(), "names")
    every = Task.objects.using("default")
    for limit in (1, 3, 2, 3):
        assert len(query.rows(every, names=list("abcde"), limit=limit)) == limit


@pytest.mark.django_db(transaction=True)
def test_each_thread_asks_by_its_own_connection(tasks: list[Task]) -> None:
    query = CompiledQuery(Counted(), "names")
    every = Task.objects.using("default")
    heard: list[str] = []

    def ask() -> None:
        heard.extend(task.name for task in query.rows(every, names=["b"], limit=1))
        connection.close()

    ask()
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    ask()
    assert heard == ["b"] * 3


def coming(states: models.QuerySet[TaskState], *, now: datetime) -> models.QuerySet[TaskState]:
    """Return a query for the first slot after a moment."""
    later = states.filter(next_run_at__gt=now).order_by("next_run_at")
    return later.values_list("next_run_at", flat=True)[:1]


def test_several_values_are_asked_for_at_once(make_task: Make, now: datetime) -> None:
    query = CompiledQuery(coming, "now")
    every = TaskState.objects.using("default")
    make_task("one", NOTHING, "every 5 seconds")
    questions = [query.bind(every, now=now + late * SECOND) for late in (0, 5, 4)]
    with CaptureQueriesContext(connection) as asked:
        assert first_values(*questions) == (now + 5 * SECOND, None, now + 5 * SECOND)
    assert len(asked) == (1 if connection.vendor == "postgresql" else 3)


def test_rows_are_locked_by_it_too(make_task: Make, now: datetime) -> None:
    make_task("one", NOTHING, "every 5 minutes")
    with CaptureQueriesContext(connection) as asked:
        for _ in range(2):
            assert firing.fire(now, limit=10) == 0
    locks = [query["sql"] for query in asked if "FOR NO KEY UPDATE" in query["sql"]]
    assert len(locks) == (2 if connection.vendor == "postgresql" else 0)


def test_the_orm_internals_are_of_known_django_versions() -> None:
    """Run this file with a new version before you add it here."""
    assert django.VERSION[:2] in {(5, 2), (6, 0), (6, 1)}


def test_a_backend_without_row_locks_has_own_sql() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("Queries are compiled once on PostgreSQL only.")
    from tests.support.unlocked_postgresql.base import DatabaseWrapper  # noqa: PLC0415 -- psycopg

    locked = CompiledQuery(lambda rows: rows.select_for_update())
    assert "FOR UPDATE" in locked.bind(Task.objects.all()).sql[0]
    given = connections["default"]
    connections["default"] = DatabaseWrapper(given.settings_dict, "default")
    try:
        assert "FOR UPDATE" not in locked.bind(Task.objects.all()).sql[0]
    finally:
        connections["default"] = given
