"""How well it is: levels and sentences."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from scheduled_tasks import scheduled_task
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Task, Worker
from scheduled_tasks.monitoring.health.live_workers import live_workers
from scheduled_tasks.monitoring.health.report import Health, Level, Problem, health
from scheduled_tasks.testing import run_task
from tests.monitoring.fleet import HOUR, MINUTE, SECOND, make_scheduler
from tests.monitoring.health.reports import said
from tests.support.attempts import make_worker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

Make = Callable[..., Task]


def test_a_live_scheduler_is_all_it_takes(now: datetime) -> None:
    make_scheduler(now)
    assert said(now) == ("OK", "1 scheduler is alive, nothing is late.")
    make_scheduler(now)
    assert said(now) == ("OK", "2 schedulers are alive, nothing is late.")


def test_without_any_scheduler_it_says_what_starts_one(now: datetime) -> None:
    sentence = "No scheduler is alive, and none is on record: start runscheduler."
    assert said(now) == ("CRITICAL", sentence)
    make_scheduler(now, declaration_digest="", label="runtask h:1")
    assert said(now) == ("CRITICAL", sentence)


@pytest.mark.parametrize(
    ("fields", "fate"),
    [
        ({"silent": MINUTE}, "is silent; its last heartbeat was at 2026-03-01 11:59:00 UTC"),
        (
            {"state": "stopped"},
            "stopped; its last heartbeat was at 2026-03-01 11:59:59 UTC",
        ),
        (
            {"state": "lost", "silent": HOUR},
            "was lost; its last heartbeat was at 2026-03-01 11:00:00 UTC",
        ),
        (
            {"state": "stopping", "silent": HOUR},
            "is silent; its last heartbeat was at 2026-03-01 11:00:00 UTC",
        ),
    ],
    ids=str,
)
def test_without_a_live_one_it_names_the_last(
    now: datetime, fields: dict[str, Any], fate: str
) -> None:
    said_of_blue = "No scheduler is alive: blue, the last one,"
    make_scheduler(now, label="old", silent=2 * HOUR)
    make_scheduler(now, **fields)
    make_scheduler(now, declaration_digest="", label="runtask h:1")
    assert said(now) == ("CRITICAL", f"{said_of_blue} {fate}. Start runscheduler.")


def test_a_stopping_scheduler_alone_is_a_warning(now: datetime) -> None:
    make_scheduler(now, state="stopping")
    make_scheduler(now, state="lost", silent=HOUR)
    sentence = "No scheduler starts anything: blue, the last one, is stopping."
    assert said(now) == ("WARNING", sentence)
    make_scheduler(now, label="green", up=SECOND)
    assert said(now) == ("OK", "1 scheduler is alive, nothing is late.")


@pytest.mark.parametrize("given", [{"workers": 3}, {"workers": 2}, True, False, {}], ids=str)
def test_there_may_be_too_few(now: datetime, settings: Any, given: Any) -> None:
    conditions = {"CONDITIONS": {"too_few_workers": given}}
    settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, **conditions}
    make_scheduler(now)
    make_scheduler(now, state="stopping")
    wanted = given["workers"] if given and given is not True else 1
    few = ("WARNING", f"Only 1 scheduler is alive, there should be {wanted}.")
    assert said(now) == (few if wanted > 1 else ("OK", "1 scheduler is alive, nothing is late."))


def test_live_workers_come_by_age(now: datetime) -> None:
    make_scheduler(now, label="young", up=SECOND)
    make_scheduler(now, label="old")
    make_scheduler(now, label="gone", silent=MINUTE)
    make_worker("runtask", now)
    assert [worker.label for worker in live_workers(now)] == ["old", "young"]


@pytest.mark.django_db(transaction=True)
def test_runtask_is_no_scheduler(registry: HandlerRegistry, make_task: Make) -> None:
    seen: list[int] = []

    @scheduled_task(name="jobs.count")
    def count() -> None:
        now = Worker.objects.database_time()
        seen.extend([Worker.objects.live(now, within=60).count(), len(live_workers(now))])

    make_task("count", "jobs.count")
    assert run_task("count").status == "success"
    assert seen == [1, 0]


def test_the_worst_problem_comes_first(now: datetime) -> None:
    report = Health(tuple(Problem(Level.WARNING, f"{number}\nis wrong.") for number in range(7)))
    assert report.level is Level.WARNING
    assert report.sentence == (
        "0 is wrong. 1 is wrong. 2 is wrong. 3 is wrong. 4 is wrong. And 2 more problems."
    )
    assert Health(remark="Well.").level is Level.OK


def test_the_database_tells_the_time(db: None) -> None:
    make_scheduler(Worker.objects.database_time(), silent=50 * SECOND)
    assert health().level is Level.OK
    Worker.objects.update(heartbeat_at=Worker.objects.database_time() - 70 * SECOND)
    assert health().level is Level.CRITICAL


def test_queries_are_few() -> None:
    make_scheduler(Worker.objects.database_time())
    with CaptureQueriesContext(connection) as captured:
        health()
    assert len(captured) == 6
