"""Workers behind a pooler that lends a connection for one transaction at a time."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from django.db import connection
from django.test import override_settings
from django.utils import timezone

from scheduled_tasks import register_task, run_task_now
from scheduled_tasks.lifecycle import stopping
from scheduled_tasks.models import Execution
from scheduled_tasks.models.sql.notify import CHANNEL
from scheduled_tasks.worker.listen_connection import unlisten
from tests.concurrency.runs import wait_for
from tests.support.database_proxy import proxy_before_the_database
from tests.support.listening import address, needs_postgresql
from tests.support.processes import LONG, database_url, ended, options, running, wait_until, written

pytestmark = pytest.mark.django_db(transaction=True)

POOL_SIZE = 3
CONFIGURATION = """
[databases]
* = {target}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 100
"""


@pytest.fixture
def pooler(tmp_path: Path) -> Iterator[str]:
    """Start a pgbouncer before the test database; return DATABASE_URL for what goes through it."""
    needs_postgresql()
    if shutil.which("pgbouncer") is None:
        pytest.skip("pgbouncer is not installed: apt-get install pgbouncer")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    user = connection.settings_dict["USER"]
    with proxy_before_the_database() as proxy:
        path = tmp_path / "pgbouncer.ini"
        target = f"host=127.0.0.1 port={proxy.port} user={user}"
        if password := connection.settings_dict["PASSWORD"]:
            target += f" password={password}"
        path.write_text(CONFIGURATION.format(target=target, port=port, size=POOL_SIZE))
        as_user = ["-u", "nobody"] if os.geteuid() == 0 else []  # it refuses to run as root
        process = subprocess.Popen(
            ["pgbouncer", "-q", *as_user, str(path)], stderr=subprocess.DEVNULL
        )
        try:
            wait_until(lambda: answers(port), within=LONG)
            name = urlsplit(database_url()).path.rpartition("/")[2]
            yield f"postgres://{user}:@127.0.0.1:{port}/{name}?DISABLE_SERVER_SIDE_CURSORS=True"
        finally:
            process.kill()
            process.wait()


def answers(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def test_the_engine_works_by_polling_with_one_warning(pooler: str, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    register_task("slots", "jobs.answer", "every 1 second")
    register_task("logs", "jobs.answer", "every 1 second", payload={"value": "x" * 10_000})
    register_task("fails", "jobs.fail", retry=1)
    register_task("held", "jobs.clean_up", payload={"path": str(marks)})
    with running(DATABASE_URL=pooler) as worker:
        failed, held = run_task_now("fails"), run_task_now("held")
        wait_for(failed, "failed")
        wait_until(lambda: len(written(marks)) == 1, within=LONG)
        stopping.cancel([held.pk], timezone.now(), reason="Not today.")
        wait_for(held, "cancelled")
        wait_until(lambda: succeeded("slots") >= 10 and succeeded("logs") >= 10, within=LONG)
        assert listening_in_the_pool(pooler) == 0, "others would get what the worker wants to hear"
        worker.send_signal(signal.SIGTERM)
        output, _ = worker.communicate(timeout=LONG)
    assert worker.returncode == 0
    assert output.count("finds new work by polling only") == 1
    assert "Behind a pooler, set SCHEDULED_TASKS['LISTEN_DSN']" in output
    assert "database error" not in output
    assert set(Execution.objects.filter(status="failed").values_list("task_name")) == {("fails",)}
    assert not Execution.objects.running().exists()


def test_a_direct_address_lets_it_listen(pooler: str) -> None:
    register_task("one", "jobs.answer")
    seldom = options(POLL_INTERVAL=600, LISTEN_DSN=address())
    with running(DATABASE_URL=pooler, TEST_OPTIONS=seldom) as worker:
        for _ in range(3):
            wait_for(run_task_now("one"), "success")
        worker.send_signal(signal.SIGTERM)
        code, output = ended(worker)
    assert code == 0
    assert "polling only" not in output


def test_a_process_deep_in_the_pool_stops_listening(pooler: str) -> None:
    address = pooler.partition("?")[0]
    with transaction_on(pooler), transaction_on(pooler), transaction_on(pooler) as deepest:
        deepest.execute(f"LISTEN {CHANNEL}")
        (backend,) = deepest.execute("SELECT pg_backend_pid()").fetchone()
    assert listening_in_the_pool(pooler) == 1
    with override_settings(SCHEDULED_TASKS={"LISTEN_DSN": address}):
        unlisten("default", backend)
    assert listening_in_the_pool(pooler) == 0


def test_a_search_that_finds_nothing_ends_soon(pooler: str) -> None:
    address = pooler.partition("?")[0]
    with override_settings(SCHEDULED_TASKS={"LISTEN_DSN": address}):
        unlisten("default", backend=0)  # none of the pool's, so it borrows all that there are
    assert listening_in_the_pool(pooler) == 0, "transactions can be had"


def succeeded(name: str) -> int:
    return Execution.objects.filter(task_name=name, status="success").count()


def listening_in_the_pool(url: str) -> int:
    """Return on how many connections of the pooler something was left listening."""
    with ExitStack() as stack:
        pool = [stack.enter_context(transaction_on(url)) for _ in range(POOL_SIZE)]
        queries = [one.execute("SELECT count(*) FROM pg_listening_channels()") for one in pool]
        return sum(query.fetchone()[0] for query in queries)


@contextmanager
def transaction_on(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url.partition("?")[0], prepare_threshold=None) as one, one.transaction():
        yield one
