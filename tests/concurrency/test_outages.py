"""Workers whose database goes away, or does not answer, and comes back: nothing runs twice."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import connection
from django.db.models import Max
from django.db.models.functions import Now

from scheduled_tasks.models import Execution, Task, Worker
from tests.chaos.proxy import Proxy
from tests.concurrency.runs import fresh, queue_a_run, wait_for_lines, wait_until_dead
from tests.support.database_proxy import (
    ForgetfulProxy,
    outage,
    proxy_before_the_database,
    url_through,
)
from tests.support.processes import LONG, ended, options, running, wait_until, written

pytestmark = pytest.mark.django_db(transaction=True)

#: Long enough for a loaded machine to see runs dead in the sixth that is kept as a margin.
LEASE = 6


@pytest.fixture(autouse=True)
def postgresql() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite is always there.")


@pytest.fixture
def proxy() -> Iterator[ForgetfulProxy]:
    with proxy_before_the_database() as proxy:
        yield proxy


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        "TEST_OPTIONS": options(LEASE=LEASE),
        "MARK_FILE": str(tmp_path / "marks"),
        "RELEASE_FILE": str(tmp_path / "release"),
    }


def wait_until_silent(seconds: float) -> None:
    """Wait until no worker has beaten for so long, by the database's clock."""

    def silent() -> bool:
        now, last = Worker.objects.aggregate(last=Max("heartbeat_at"), now=Max(Now())).values()
        return abs((now - last).total_seconds()) > seconds

    wait_until(silent, within=LONG)


@contextmanager
def hanging(proxy: Proxy) -> Iterator[None]:
    """Let no answer through meanwhile; what was asked arrives later."""
    proxy.hold()
    try:
        yield
    finally:
        proxy.let_go()


def test_a_cut_off_workers_runs_are_taken_over(
    proxy: Proxy, environment: dict[str, str], tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    again = queue_a_run("stay_at_first", payload={"path": str(pids)})
    once = queue_a_run("ignore_terms", payload={"path": str(pids)}, on_lost=Task.OnLost.FAIL)
    with running(**environment, DATABASE_URL=url_through(proxy)) as deaf:
        wait_for_lines(pids, 2)
        lost = Worker.objects.get()
        with running("--worker-name=heir", **environment):
            with hanging(proxy):
                wait_until_dead(pids)
                for execution in (again, once):
                    assert (fresh(execution).status, execution.worker) == ("running", str(lost.pk))
                wait_until(lambda: fresh(again).finished and fresh(once).finished, within=LONG)
                assert deaf.poll() is None
            code, output = ended(deaf)
    assert code == 1, output
    assert "connection cut" in output
    assert "given up as lost" in output
    assert (again.status, again.attempt, again.losses) == ("success", 2, 0)
    assert again.worker_label == "heir"
    assert (once.status, once.attempt, once.error) == ("failed", 1, "The worker was lost.")
    lost.refresh_from_db()
    assert lost.state == Worker.State.LOST


def test_connections_that_a_firewall_forgets_cost_no_run(
    proxy: ForgetfulProxy, environment: dict[str, str], tmp_path: Path
) -> None:
    held = queue_a_run("hold")
    with running(**environment, DATABASE_URL=url_through(proxy)) as worker:
        wait_for_lines(tmp_path / "marks", 1)
        proxy.forget()
        before = Worker.objects.get().heartbeat_at
        wait_until(lambda: Worker.objects.get().heartbeat_at > before, within=LONG)
        (tmp_path / "release").touch()
        wait_until(lambda: fresh(held).finished, within=LONG)
        worker.send_signal(signal.SIGTERM)
        code, output = ended(worker)
    assert code == 0, output
    assert "connection cut" in output
    assert (held.status, held.attempt, held.losses) == ("success", 1, 0)


def test_a_cut_off_worker_not_replaced_goes_on(
    proxy: Proxy, environment: dict[str, str], tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    again = queue_a_run("stay_at_first", payload={"path": str(pids)})
    with running(**environment, DATABASE_URL=url_through(proxy)) as worker:
        wait_for_lines(pids, 1)
        with hanging(proxy):
            wait_until_dead(pids)
            wait_until_silent(1.5 * LEASE)
        wait_until(lambda: fresh(again).finished, within=LONG)
        worker.send_signal(signal.SIGTERM)
        code, output = ended(worker)
    assert code == 0, output
    assert "connection cut" in output
    assert (again.status, again.attempt, again.losses) == ("success", 2, 0)


@pytest.mark.parametrize("executor", ["process", pytest.param("thread", marks=pytest.mark.long)])
def test_all_go_on_and_write_after_an_outage(
    proxy: Proxy, environment: dict[str, str], tmp_path: Path, executor: str
) -> None:
    """The outage is longer than a lease; a run that ends while it lasts ends once."""
    marks, pids = tmp_path / "marks", tmp_path / "pids"
    ends_meanwhile = queue_a_run("hold", executor=executor)
    goes_on = queue_a_run("stay_at_first", payload={"path": str(pids)})
    Task(
        name="every-second", handler="jobs.answer", schedule="every 1 second", misfire_policy="all"
    ).save()
    through = {**environment, "DATABASE_URL": url_through(proxy)}
    with running(**through) as one, running(**through) as other:
        wait_for_lines(marks, 1)
        wait_for_lines(pids, 1)
        wait_until(lambda: Execution.objects.of_slots().count() >= 2, within=LONG)
        with outage(proxy):
            (tmp_path / "release").touch()
            wait_until_dead(pids)
            wait_until_silent(1.5 * LEASE)
            assert fresh(ends_meanwhile).status == "running"
            fired = Execution.objects.of_slots().count()
        wait_until(lambda: fresh(ends_meanwhile).finished and fresh(goes_on).finished, within=LONG)
        wait_until(lambda: Execution.objects.of_slots().count() > fired, within=LONG)
        assert {worker.state for worker in Worker.objects.all()} == {Worker.State.RUNNING}
        outputs = []
        for worker in (one, other):
            worker.send_signal(signal.SIGTERM)
            code, output = ended(worker)
            assert code == 0, output
            outputs.append(output)
    assert len(written(marks)) == 1
    assert (ends_meanwhile.status, ends_meanwhile.attempt) == ("success", 1)
    assert (goes_on.status, goes_on.attempt, goes_on.losses) == ("success", 2, 0)
    assert not any("worker lost" in output for output in outputs)
    slots = Execution.objects.of_slots().values_list("slot", flat=True)
    assert len(slots) == len(set(slots))
