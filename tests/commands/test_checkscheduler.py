"""What checkscheduler says and how it exits, with real schedulers and databases that are away."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F

from scheduled_tasks import register_task, run_task_now
from scheduled_tasks.models import Execution, Worker
from scheduled_tasks.monitoring.health.check import ANSWER_SECONDS
from tests.support.processes import LONG, ended, options, running, started, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

NOWHERE = "postgres://nobody@127.0.0.1:1/nothing"


def check(*arguments: str, command: str = "checkscheduler", **environment: str) -> tuple[int, str]:
    """Run the command as its own process; return its exit code and the one line it prints."""
    with started(command, *arguments, **{"TEST_OPTIONS": options(), **environment}) as run:
        code, output = ended(run)
    [line] = output.splitlines()
    return code, line


def test_without_a_scheduler_it_exits_with_2() -> None:
    code, line = check()
    sentence = "No scheduler is alive, and none is on record: start runscheduler."
    assert (code, line) == (2, f"CRITICAL: {sentence}")


def test_it_follows_the_life_of_a_scheduler() -> None:
    with running("--worker-name=blue|green") as process:
        assert check_here("--deep") == (0, "OK: 1 scheduler is alive, nothing is late.\n")
        # Not frozen: it might hold the lock of SQLite.
        process.kill()
        process.wait()
        Worker.objects.update(heartbeat_at=F("heartbeat_at") - timedelta(minutes=1))
        code, line = check_here()
        assert code == 2
        # What follows a bar would be a number to Nagios.
        assert line.startswith("CRITICAL: No scheduler is alive: blue/green, the last one, is ")
        assert "is silent; its last heartbeat was at " in line


def test_deep_finds_what_nobody_claims() -> None:
    register_task("report", "jobs.answer", queue="reports")
    run_task_now("report")
    Execution.objects.update(run_after=Worker.objects.database_time() - timedelta(hours=1))
    Worker.objects.create(
        label="blue",
        host="h",
        pid=1,
        queues=["default"],
        declaration_digest="d",
        started_at=Worker.objects.database_time() - timedelta(hours=1),
        heartbeat_at=Worker.objects.database_time() + timedelta(minutes=1),
    )
    code, line = check("--deep")
    assert code == 1
    assert line.startswith("WARNING: No worker serves the queue reports: 1 execution cannot be ")
    assert check() == (0, "OK: 1 scheduler is alive, nothing is late.")


# Databases that are away.


def test_a_database_that_is_away_exits_with_2() -> None:
    code, line = check(DATABASE_URL=NOWHERE)
    assert code == 2
    assert line.startswith("CRITICAL: The database does not answer: ")
    assert "127.0.0.1" in line


@pytest.fixture
def silent_server() -> Iterator[int]:
    """Return the port of a server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_database_that_hangs_exits_with_2(silent_server: int) -> None:
    url = f"postgres://nobody@127.0.0.1:{silent_server}/nothing"
    # It waits for less long, and its process has to end although a thread hangs.
    said = check(command="impatientcheck", DATABASE_URL=url)
    assert said == (2, "CRITICAL: The database does not answer.")


def test_most_callers_wait_for_the_answer() -> None:
    """Nagios and Kubernetes give up after ten seconds, and Django takes its time to start."""
    assert ANSWER_SECONDS <= 8


@pytest.mark.parametrize("content", [b"", b"This is no database, but a text.\n" * 100])
def test_missing_tables_exit_with_2(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "database.sqlite3"
    path.write_bytes(content)
    code, line = check(DATABASE_URL=f"sqlite:///{path}")
    assert code == 2
    assert line.startswith("CRITICAL: The tables of scheduled tasks are missing or cannot be read.")
    assert "Did migrate run on this database" in line


def test_settings_that_are_wrong_exit_with_2() -> None:
    code, line = check(TEST_OPTIONS='{"LEASE": 1}')
    assert code == 2
    assert line.startswith("CRITICAL: The settings are wrong: SCHEDULED_TASKS['LEASE'] is 1 s")


# Within this process.


def check_here(*arguments: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("checkscheduler", *arguments, stdout=out)
    except SystemExit as exit_:
        return int(exit_.code or 0), out.getvalue()
    return 0, out.getvalue()


@pytest.mark.parametrize(("fields", "code"), [({}, 0), ({"state": "stopping"}, 1)], ids=str)
def test_the_exit_code_is_the_level(fields: dict[str, str], code: int) -> None:
    Worker.objects.create(label="blue", host="h", pid=1, declaration_digest="d", **fields)
    exited, output = check_here()
    [line] = output.splitlines()
    assert exited == code
    assert line.startswith(("OK: ", "WARNING: ")[code])


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("ALERTS", [{"to": "opss"}], "opss"),
        ("NOTIFIERS", {"ops": {"BACKEND": "shop.Missing"}}, "shop.Missing"),
    ],
)
def test_settings_that_stop_a_start_are_critical(
    settings: Any, key: str, value: object, said: str
) -> None:
    Worker.objects.create(label="blue", host="h", pid=1, declaration_digest="d")
    settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, key: value}
    exited, output = check_here()
    assert exited == 2
    assert output.startswith("CRITICAL: The settings are wrong: ")
    assert said in output


def test_unknown_options_are_refused() -> None:
    with pytest.raises(CommandError, match="--deeper"):
        check_here("--deeper")


def test_it_leaves_no_connection_behind() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no list of connections.")

    def connections() -> int:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            )
            return int(cursor.fetchone()[0])

    before = connections()
    assert check_here()[0] == 2
    wait_until(lambda: connections() <= before, within=LONG)
