"""A service like Healthchecks on loopback, which records what it hears."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from scheduled_tasks.monitoring.heartbeats import sending
from tests.support.processes import LONG

PATH = re.compile(r"/ping/(?P<check>[0-9a-f-]{36})(?:/(?P<kind>start|fail))?")
#: Bytes of a body that are kept, from its beginning.
BODY_LIMIT = 10_000


@dataclass(frozen=True)
class Ping:
    """What was heard: ``start``, ``success`` or ``fail``, of which run."""

    kind: str
    run: uuid.UUID | None
    body: str


class Service:
    """One check, and its pings in order. ``answers`` are given instead, while there are any."""

    def __init__(self) -> None:
        self.check = uuid.uuid4()
        self.pings: list[Ping] = []
        self.requests: list[str] = []
        self.answers: list[tuple[int, bytes]] = []
        #: Called with each request before it is answered.
        self.on_request: Callable[[], None] = lambda: None
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                service.requests.append(f"{self.command} {self.path}")
                service.on_request()
                status, text = service.heard(self.path, body[:BODY_LIMIT].decode())
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def origin(self) -> str:
        """Return the beginning of all its addresses."""
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def url(self) -> str:
        """Return the heartbeat URL of the check."""
        return f"healthchecks+{self.origin}/ping/{self.check}"

    @property
    def kinds(self) -> list[str]:
        """Return what was heard, in order."""
        return [ping.kind for ping in self.pings]

    def heard(self, target: str, body: str) -> tuple[int, bytes]:
        """Record a ping, and return the answer."""
        if self.answers:
            return self.answers.pop(0)
        parts = urlsplit(target)
        match = PATH.fullmatch(parts.path)
        if match is None or match["check"] != str(self.check):
            return 404, b"not found"
        runs = parse_qs(parts.query).get("rid", [])
        try:
            run = uuid.UUID(runs[0]) if runs else None
        except ValueError:
            return 400, b"invalid uuid format"
        self.pings.append(Ping(match["kind"] or "success", run, body))
        return 200, b"OK"


@contextmanager
def running_service() -> Iterator[Service]:
    """Run it, and stop it at the end. However loaded the machine is, its answer is waited for."""
    service = Service()
    thread = threading.Thread(target=service.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(sending, "TIMEOUT", LONG)
            yield service
    finally:
        service.server.shutdown()
        thread.join()
        service.server.server_close()
