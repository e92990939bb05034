"""Keys that processes race for, and those that killed runs have held.

The long form::

    ROUNDS=1000 python -m tests tests/concurrency/test_once.py
"""

from __future__ import annotations

import os
import signal
from itertools import product
from pathlib import Path

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.utils import timezone

from scheduled_tasks import run_task_now
from scheduled_tasks.models import Execution, OnceKey, Task
from scheduled_tasks.runtime.runs import Run
from tests.concurrency.contests import Contest
from tests.concurrency.racer import Racers, racers
from tests.concurrency.runs import fresh, queue_a_run, wait_for, wait_for_lines
from tests.support.lengths import short_and_long
from tests.support.processes import LONG, environment_of, running, wait_until, written

pytestmark = pytest.mark.django_db(transaction=True)

RACERS = 5


@pytest.fixture
def runs(transactional_db: None) -> list[Run]:
    """Return an attempt of each of five executions of one task."""
    first = queue_a_run("mark", overlap_policy=Task.OverlapPolicy.ALLOW)
    executions = [first, *(run_task_now(first.task_name) for _ in range(RACERS - 1))]
    Execution.objects.update(status="running", attempt=1, claimed_at=timezone.now())
    return [fresh(execution).as_run() for execution in executions]


def race(racing: Racers, contest: Contest) -> tuple[list[str], int]:
    """Let all race; return what was raised, and how many were told that they are the first."""
    ends = racing.race(*(("do_once", contest, number, 0.0) for number in range(RACERS)))
    raised = [error for error, _ in ends if error]
    firsts = sum(after.told is True for _, after in ends)
    assert firsts + len(raised) + sum(after.told is False for _, after in ends) == RACERS
    return raised, firsts


def effects(key: str) -> int:
    return Group.objects.filter(name__startswith=f"{key} ").count()


@pytest.mark.parametrize("rounds", short_and_long("ROUNDS", short=1, long=25))
def test_one_of_five_processes_at_most_is_first(runs: list[Run], rounds: int) -> None:
    """At REPEATABLE READ, in one transaction, those who come second may fail instead."""
    with racers(RACERS, environment_of(), moves="tests.concurrency.contests") as racing:
        for number, atomic in product(range(rounds), (True, False)):
            key = f"{number} {atomic}"
            contest = Contest(runs, f"all {key}", atomic=atomic)
            assert race(racing, contest) == ([], 1)
            assert effects(contest.key) == 1
            check_given_up(racing, Contest(runs, f"half {key}", atomic=atomic, give_up=RACERS // 2))
            if atomic and connection.vendor == "postgresql":
                contest = Contest(runs, f"rr {key}", atomic=True, isolation="REPEATABLE READ")
                raised, firsts = race(racing, contest)
                assert firsts == effects(contest.key) == 1
                assert all("could not serialize" in error for error in raised)
    assert not OnceKey.objects.filter(final=False).exists()


def check_given_up(racing: Racers, contest: Contest) -> None:
    """Let half of them give up. Those who came while it was held were told they are not first."""
    raised, firsts = race(racing, contest)
    assert set(raised) <= {"GivesUpError()"}
    assert firsts == effects(contest.key) <= 1
    assert OnceKey.objects.filter(key=contest.key).count() == firsts


@pytest.mark.parametrize("atomic", [True, False])
def test_a_killed_runs_key_goes_to_its_retry(
    tmp_path: Path,
    atomic: bool,  # noqa: FBT001
) -> None:
    pids = tmp_path / "pids"
    payload = {"path": str(pids), "atomic": atomic}
    killed = queue_a_run("do_once", payload, max_retries=1, overlap_policy=Task.OverlapPolicy.ALLOW)
    with running():
        wait_for_lines(pids, 1)
        if not atomic:  # one in a transaction is waited for
            other = run_task_now(killed.task_name, payload)
            wait_for(other, "success")
            assert other.result is False
            assert not OnceKey.objects.get().final
        os.kill(int(written(pids)[0]), signal.SIGKILL)
        wait_until(lambda: fresh(killed).finished, within=LONG)
    assert (killed.status, killed.attempt, killed.result) == ("success", 2, True)
    assert effects("mail") == (1 if atomic else 2)
    key = OnceKey.objects.get()
    assert (key.final, key.execution_id, key.attempt) == (True, killed.pk, 2)
