"""Serves the metrics from a thread of a worker."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPException
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.db import connections

from scheduled_tasks.monitoring.metrics import collector as metrics
from scheduled_tasks.outgoing.connection import DeadlineReader, LineReader
from scheduled_tasks.outgoing.deadline import Deadline

logger = logging.getLogger(__name__)

#: Seconds that a client has to send its request, and as many to take the answer.
CLIENT_SECONDS = 5.0
#: Requests are much shorter.
MAX_REQUEST_BYTES = 16_384
#: At the same time, each with a thread. Further ones are closed at once.
MAX_CONNECTIONS = 8
PATHS = ("/", "/metrics", "/metrics/")

Start = Callable[[str, list[tuple[str, str]]], Any]


class QuietHandler(WSGIRequestHandler):
    """Logs no requests, and waits for no client for long."""

    timeout = CLIENT_SECONDS

    def setup(self) -> None:
        super().setup()
        # The timeout of a socket starts again with each byte.
        reader = DeadlineReader(self.connection, Deadline(self.timeout))
        reader.allowed = MAX_REQUEST_BYTES
        self.rfile = LineReader(reader)

    def handle(self) -> None:
        # Raised for clients that are slow, have gone or send something else.
        with suppress(OSError, HTTPException):
            super().handle()

    def parse_request(self) -> bool:
        parsed = super().parse_request()
        self.connection.settimeout(self.timeout)
        return parsed

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the name that it has
        """Log nothing: there is a scrape every few seconds."""


class ThreadedServer(ThreadingMixIn, WSGIServer):
    """Answers a few requests at a time, each in a thread: one that hangs holds up no other."""

    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        self._places = threading.Semaphore(MAX_CONNECTIONS)
        super().__init__(*arguments)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Take a place for a connection. If there is none, it is closed."""
        return self._places.acquire(blocking=False)

    def process_request(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread can be started
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()


class ThreadedServerV6(ThreadedServer):
    """The same at an address of IPv6."""

    address_family = socket.AF_INET6


class MetricsServer:
    """Answers scrapes at an address until it is stopped."""

    def __init__(self, host: str, port: int) -> None:
        """Bind the address. Raise OSError if that is not possible."""
        kind = ThreadedServerV6 if ":" in host else ThreadedServer
        self._server = make_server(
            host, port, answer, server_class=kind, handler_class=QuietHandler
        )
        self.port = int(self._server.server_port)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="scheduled-tasks-metrics", daemon=True
        )

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()
        logger.info("metrics at port %s", self.port)

    def stop(self) -> None:
        """Release the address."""
        self._server.shutdown()
        self._server.server_close()


def answer(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    """Answer one request."""
    status, body, content_type = HTTPStatus.NOT_FOUND, b"Not found.\n", "text/plain"
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        status, body = HTTPStatus.METHOD_NOT_ALLOWED, b"Only GET.\n"
    elif environ["PATH_INFO"] in PATHS:
        status, body, content_type = scrape()
    headers = [("Content-Type", content_type), ("Content-Length", str(len(body)))]
    start_response(f"{status.value} {status.phrase}", headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def scrape() -> tuple[HTTPStatus, bytes, str]:
    try:
        text = metrics.exposition.text()
    except Exception as error:  # noqa: BLE001 -- whatever it is, the worker goes on
        logger.warning("the metrics cannot be read: %s", error)
        return HTTPStatus.SERVICE_UNAVAILABLE, metrics.UNAVAILABLE.encode(), "text/plain"
    else:
        return HTTPStatus.OK, text, metrics.CONTENT_TYPE
    finally:
        # The thread ends with its request, so nothing else would.
        connections.close_all()
