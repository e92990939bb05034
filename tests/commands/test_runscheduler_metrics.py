"""A scheduler process with --metrics-port answers Prometheus."""

from __future__ import annotations

import socket
from http.client import HTTPConnection

import pytest
from django.db import connection

from tests.monitoring.metrics.exposed import parsed, value
from tests.support.database_proxy import outage, proxy_before_the_database, url_through
from tests.support.processes import IN_THREADS, LONG, ended, running, started

pytestmark = pytest.mark.django_db(transaction=True)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def metrics_at(port: int) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=LONG)
    try:
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_a_scheduler_serves_metrics() -> None:
    port = free_port()
    with running("--metrics-port", str(port), TEST_OPTIONS=IN_THREADS) as process:
        status, text = metrics_at(port)
        assert status == 200
        assert value(parsed(text), "workers") == 1
        process.terminate()
        assert process.wait(timeout=LONG) == 0


def test_a_taken_port_ends_the_scheduler() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with started("runscheduler", "--metrics-port", str(port)) as process:
            code, output = ended(process)
    assert code == 1
    [line] = [line for line in output.splitlines() if "CommandError" in line]
    assert line.startswith(f"CommandError: The metrics cannot be served at 127.0.0.1:{port}: ")


def test_an_outage_is_told_and_survived() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("only a database server can be away")
    port = free_port()
    with (
        proxy_before_the_database() as proxy,
        running(
            "--metrics-port", str(port), TEST_OPTIONS=IN_THREADS, DATABASE_URL=url_through(proxy)
        ) as process,
    ):
        with outage(proxy):
            assert metrics_at(port)[0] == 503
        assert metrics_at(port)[0] == 200
        assert process.poll() is None
