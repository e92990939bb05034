"""What stands for Sentry on loopback: it takes envelopes, and keeps the check-ins in them."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sentry_sdk.envelope import Envelope


class Relay:
    """The check-ins that have arrived, in order."""

    def __init__(self) -> None:
        self.check_ins: list[dict[str, Any]] = []
        #: Called after each check-in.
        self.on_check_in: Callable[[], None] = lambda: None
        relay = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers["Content-Encoding"] == "gzip":
                    body = gzip.decompress(body)
                relay.receive(Envelope.deserialize(body))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def dsn(self) -> str:
        """Return the address for ``sentry_sdk.init()``."""
        return f"http://key@127.0.0.1:{self.server.server_port}/1"

    def receive(self, envelope: Envelope) -> None:
        """Keep the check-ins of an envelope."""
        for item in envelope.items:
            if item.type == "check_in":
                self.check_ins.append(json.loads(item.get_bytes()))
                self.on_check_in()


@contextmanager
def running_relay() -> Iterator[Relay]:
    """Run it, and stop it at the end."""
    relay = Relay()
    thread = threading.Thread(target=relay.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield relay
    finally:
        relay.server.shutdown()
        thread.join()
        relay.server.server_close()
