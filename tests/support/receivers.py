"""Servers on free ports of this machine that receive what is sent to people and services."""

from __future__ import annotations

import email
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, cast

import django
from aiosmtpd.controller import Controller

HOST = "127.0.0.1"
#: Nothing listens on this port, and no test gets it as a free one.
CLOSED_PORT = 1
#: The settings with which requests may reach a receiver.
ALLOWED = {"OUTGOING_ALLOW": [HOST]}
#: In place of a status: no answer until the receiver closes.
HANGS = 0


@dataclass(frozen=True, slots=True)
class Request:
    """What a receiver has got. The names of headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class HttpReceiver:
    """Answers requests with the given statuses, and all further ones with the last of them."""

    url: str
    answers: list[int]
    requests: list[Request] = field(default_factory=list)
    closing: Event = field(default_factory=Event)

    def next_answer(self) -> int:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def http_receiver(*answers: int) -> Iterator[HttpReceiver]:
    """Run a server that records requests; without ``answers`` it says 200."""
    with ThreadingHTTPServer((HOST, 0), Recording) as server:
        receiver = HttpReceiver(f"http://{HOST}:{server.server_port}", list(answers) or [200])
        server.receiver = receiver  # type: ignore[attr-defined]
        thread = Thread(target=server.serve_forever, args=[0.01], name="http receiver")
        thread.start()
        try:
            yield receiver
        finally:
            receiver.closing.set()
            server.shutdown()
            thread.join()


class Recording(BaseHTTPRequestHandler):
    """One connection of an HTTP receiver."""

    def answer(self) -> None:
        receiver = cast(HttpReceiver, self.server.receiver)  # type: ignore[attr-defined]
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        receiver.requests.append(Request(self.command, self.path, headers, body))
        status = receiver.next_answer()
        if status == HANGS:
            receiver.closing.wait()
            return
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_POST = answer  # noqa: N815 -- the names are those of http.server

    def log_message(self, *args: Any) -> None:
        """Do not write to standard error."""


@dataclass(slots=True)
class MailReceiver:
    """Takes mails by SMTP, but for addresses in ``refused``, which get these replies."""

    port: int
    refused: dict[str, str] = field(default_factory=dict)
    messages: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)

    async def handle_RCPT(  # noqa: N802 -- the name is that of aiosmtpd
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        message = email.message_from_bytes(envelope.content, policy=default)
        self.messages.append(cast(EmailMessage, message))
        self.recipients.append(list(envelope.rcpt_tos))
        return "250 OK"


class BoundController(Controller):
    """A server on a socket that has a port already: aiosmtpd cannot choose a free one."""

    def __init__(self, handler: Any, listening: socket.socket) -> None:
        host, port = listening.getsockname()
        super().__init__(handler, hostname=host, port=port)
        self.listening = listening

    def _create_server(self) -> Any:
        return self.loop.create_server(self._factory_invoker, sock=self.listening)


@contextmanager
def mail_receiver() -> Iterator[MailReceiver]:
    """Run a mail server that records what it gets."""
    listening = socket.create_server((HOST, 0))
    receiver = MailReceiver(port=listening.getsockname()[1])
    controller = BoundController(receiver, listening)
    controller.start()
    try:
        yield receiver
    finally:
        controller.stop()


@contextmanager
def silent_server() -> Iterator[int]:
    """Listen on a port, and never answer; return the port."""
    with socket.create_server((HOST, 0)) as listening:
        yield listening.getsockname()[1]


def mail_settings(port: int, *, timeout: float | None = None) -> dict[str, Any]:
    """Return the settings with which Django sends mails to a port of this machine."""
    backend = "django.core.mail.backends.smtp.EmailBackend"
    if django.VERSION >= (6, 1):
        options = {"host": HOST, "port": port, "timeout": timeout}
        return {"MAILERS": {"default": {"BACKEND": backend, "OPTIONS": options}}}
    return {
        "EMAIL_BACKEND": backend,
        "EMAIL_HOST": HOST,
        "EMAIL_PORT": port,
        "EMAIL_TIMEOUT": timeout,
    }
