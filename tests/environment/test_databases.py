"""Databases that are set up otherwise, have no tables, or go away for good."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from django.db import connection

from scheduled_tasks.models import Execution, Task
from tests.concurrency.runs import fresh, queue_a_run, wait_for_lines
from tests.environment.surroundings import EXECUTORS, command, worker, works
from tests.support.processes import LONG, database_url, options, wait_until, written

pytestmark = pytest.mark.django_db(transaction=True)

UNUSABLE = "CommandError: This database cannot be used."
UNAVAILABLE = "CommandError: The database does not answer, or cannot do this now. ("
SHORT_TIMEOUTS = {
    "statement_timeout": 300,
    "lock_timeout": 50,
    "idle_in_transaction_session_timeout": 300,
    "idle_session_timeout": 400,
}
STRICT = {
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
}
ODD = {
    "TimeZone": "Asia/Kathmandu",
    "client_encoding": "LATIN1",
    "jit_above_cost": 0,
    "standard_conforming_strings": "off",
    "plan_cache_mode": "force_generic_plan",
    "DateStyle": "ISO,DMY",
}
long = pytest.mark.long
#: In seconds; a lease of a worker whose heartbeat has no connection of its own.
LEASE = 3


@pytest.fixture
def postgresql() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("These are settings of PostgreSQL.")


def url_with(**settings: object) -> str:
    """Return the address of the test database for sessions with these settings."""
    given = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return f"{database_url()}?options={quote(given)}"


@pytest.mark.usefixtures("postgresql")
@pytest.mark.parametrize(
    "settings",
    [pytest.param(SHORT_TIMEOUTS, marks=long), STRICT, pytest.param(ODD, marks=long)],
    ids=["short", "strict", "odd"],
)
def test_sessions_with_other_settings_work(settings: dict[str, object]) -> None:
    task = Task(
        name="often", handler="jobs.answer", schedule="every 1 second", misfire_policy="all"
    )
    task.save()
    works(DATABASE_URL=url_with(**settings))
    slots = Execution.objects.of_slots().values_list("slot", flat=True)
    assert len(slots) == len(set(slots)) > 0


@contextmanager
def role() -> Iterator[str]:
    """Make a role that may do what the owner of the tables may; return its name."""
    name = f"{connection.settings_dict['NAME']}_guest"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {name} LOGIN")
        cursor.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}")
        cursor.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {name}")
        try:
            yield name
        finally:
            cursor.execute(f"DROP OWNED BY {name}")
            cursor.execute(f"DROP ROLE {name}")


def url_of(user: str) -> str:
    scheme, _, rest = database_url().partition("://")
    return f"{scheme}://{user}@{rest.rpartition('@')[2]}"


@long
@pytest.mark.usefixtures("postgresql")
def test_a_worker_with_one_connection_keeps_its_lease(tmp_path: Path) -> None:
    """Neither its heartbeat nor its listener can connect; the loop does the work of both."""
    release = tmp_path / "release"
    run = queue_a_run("hold")
    with role() as name:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER ROLE {name} CONNECTION LIMIT 1")
        with worker(
            DATABASE_URL=url_of(name),
            TEST_OPTIONS=options(LEASE=LEASE, HEARTBEAT_INTERVAL=0.3),
            MARK_FILE=str(tmp_path / "marks"),
            RELEASE_FILE=str(release),
        ) as single:
            failed = "heartbeat failed, trying again"
            # Tried every 0.3 s: for longer than a lease.
            wait_until(lambda: single.output.count(failed) > 2 * LEASE / 0.3, within=LONG)
            release.touch()
            wait_until(lambda: fresh(run).finished, within=LONG)
            output = single.stop()
    assert (run.status, run.attempt, run.losses) == ("success", 1, 0)
    assert "worker finds new work by polling only" in output


@pytest.mark.parametrize(
    "arguments",
    [
        "runscheduler",
        *(pytest.param(each, marks=long) for each in ("runtask jobs.answer", "listtasks")),
    ],
)
def test_commands_explain_missing_tables(tmp_path: Path, arguments: str) -> None:
    url = f"sqlite:///{tmp_path}/empty.sqlite3"
    if connection.vendor == "postgresql":
        url = url_with(search_path="nowhere")
    with command(*arguments.split(), DATABASE_URL=url) as ran:
        output = ran.wait()
    assert ran.process.returncode == 1
    assert UNUSABLE in output


@pytest.mark.any_database
@pytest.mark.parametrize(
    "arguments",
    ["pruneexecutions", *(pytest.param(each, marks=long) for each in ("listtasks", "synctasks"))],
)
def test_commands_explain_a_database_that_is_away(arguments: str) -> None:
    with command(arguments, DATABASE_URL="postgres://nobody@127.0.0.1:1/nothing") as ran:
        output = ran.wait()
    assert ran.process.returncode == 1
    assert UNAVAILABLE in output


@long
def test_a_worker_leaves_a_file_that_was_removed(tmp_path: Path) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("Only SQLite keeps its tables in a file of the user's.")
    url = f"sqlite:///{tmp_path}/own.sqlite3"
    with command("migrate", DATABASE_URL=url) as migrated:
        migrated.wait()
    with command("runscheduler", DATABASE_URL=url) as left:
        wait_until(lambda: "worker started" in left.output, within=LONG)
        for path in tmp_path.glob("own.sqlite3*"):
            path.unlink()
        output = left.wait()
    assert left.process.returncode == 1
    assert UNUSABLE in output


@contextmanager
def read_only() -> Iterator[None]:
    """Let the database refuse all writes meanwhile, as a standby does after a failover."""
    name = connection.settings_dict["NAME"]
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    with connection.cursor() as cursor:  # this session stays as it is
        cursor.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        cursor.execute(f"{others} AND datname = current_database()")
        try:
            yield
        finally:
            cursor.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
            cursor.execute(f"{others} AND datname = current_database()")


@pytest.mark.usefixtures("postgresql")
def test_a_database_read_only_for_a_while(tmp_path: Path) -> None:
    marks, release = tmp_path / "marks", tmp_path / "release"
    runs = [queue_a_run("hold", name=f"hold-{name}", executor=name) for name in EXECUTORS]
    Task(name="often", handler="jobs.answer", schedule="every 1 second").save()
    with worker(
        TEST_OPTIONS=options(LEASE=60), MARK_FILE=str(marks), RELEASE_FILE=str(release)
    ) as waits:
        wait_for_lines(marks, len(runs))
        with read_only():
            refused = "in a read-only transaction"
            wait_until(lambda: waits.output.count(refused) > 2, within=LONG)
            release.touch()
        wait_until(lambda: all(fresh(run).finished for run in runs), within=LONG)
        fired = Execution.objects.of_slots().count()
        wait_until(lambda: Execution.objects.of_slots().count() > fired, within=LONG)
        waits.stop()
    assert {(run.status, run.attempt, run.losses) for run in runs} == {("success", 1, 0)}
    assert len(written(marks)) == len(runs)
