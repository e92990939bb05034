"""One request and its answer, by http.client over a socket that it did not open.

``HTTPConnection.sock`` and ``auto_open``, and ``HTTPResponse.length``, are not documented. They are
tested in tests/outgoing/test_http_client_internals.py.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse, IncompleteRead
from typing import cast

from django.utils.datastructures import CaseInsensitiveMapping

from scheduled_tasks.outgoing import headers as request_headers
from scheduled_tasks.outgoing.connection import DeadlineSocket
from scheduled_tasks.outgoing.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The answer to a request, whatever its status."""

    status: int
    #: Values of a header that occurs more than once are joined with commas.
    headers: CaseInsensitiveMapping[str]
    #: As it was sent, and not decoded.
    body: bytes = field(repr=False)
    #: Whether the body was longer, and the rest was not read.
    truncated: bool
    #: The URL that answered, without user and fragment. It may hold secrets.
    url: str = field(repr=False)


def exchange(
    sock: DeadlineSocket,
    method: str,
    target: Target,
    *,
    headers: Mapping[str, str],
    body: bytes | None,
    max_bytes: int,
) -> Response:
    """Send a request and read the answer. Raise OSError or HTTPException."""
    connection = HTTPConnection(str(target.host), target.port)
    connection.auto_open = 0  # it would connect to the host by its name
    connection.sock = cast(socket.socket, sock)
    sent = request_headers.for_target(headers, target)
    connection.request(method, target.path, body=body, headers=sent)
    with connection.getresponse() as answer:
        content = body_of(answer, max_bytes + 1)
        return Response(
            status=answer.status,
            headers=headers_of(answer),
            body=content[:max_bytes],
            truncated=len(content) > max_bytes,
            url=target.url,
        )


def body_of(answer: HTTPResponse, max_bytes: int) -> bytes:
    """Read a body up to a length. Raise IncompleteRead if it ends too early."""
    content = answer.read(max_bytes)
    # When a length is given, read() itself raises it only for chunks.
    if answer.length and len(content) < max_bytes:
        raise IncompleteRead(content, answer.length)
    return content


def headers_of(answer: HTTPResponse) -> CaseInsensitiveMapping[str]:
    names = dict.fromkeys(name.lower() for name in answer.headers)
    return CaseInsensitiveMapping(
        {name: ", ".join(answer.headers.get_all(name, [])) for name in names}
    )
