"""One request and its answer, by http.client over a socket that it did not open.

Of HTTPConnection, ``sock``, ``auto_open`` and ``response_class`` are not documented; of
HTTPResponse, ``length``, ``fp`` and ``_read_status``. They are tested in
tests/outgoing/test_http_client_internals.py.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from typing import cast

from django.utils.datastructures import CaseInsensitiveMapping

from scheduled_tasks.outgoing import headers as request_headers
from scheduled_tasks.outgoing.connection import DeadlineSocket
from scheduled_tasks.outgoing.target import Target

#: How many interim answers may come before the final one.
MAX_INTERIM_ANSWERS = 10
#: Of the headers, with those of interim answers. The email package needs quadratic time to parse
#: them: 0.8 s for these, minutes for a megabyte, and no deadline ends it.
MAX_HEAD_BYTES = 32_768
#: Of what is neither headers nor body: the sizes of chunks, and trailers.
MAX_FRAMING_BYTES = 200_000


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
    """Send a request and read the final answer. Raise OSError or HTTPException."""
    connection = HTTPConnection(str(target.host), target.port)
    connection.auto_open = 0  # it would connect to the host by its name
    connection.response_class = FinalResponse
    connection.sock = cast(socket.socket, sock)
    sent = request_headers.for_target(headers, target)
    connection.request(method, target.path, body=body, headers=sent)
    sock.allow(MAX_HEAD_BYTES)
    with parsing_errors(), connection.getresponse() as answer:
        sock.allow(max_bytes + MAX_FRAMING_BYTES)
        content = body_of(answer, max_bytes + 1)
        return Response(
            status=answer.status,
            headers=headers_of(answer),
            body=content[:max_bytes],
            truncated=len(content) > max_bytes,
            url=target.url,
        )


class FinalResponse(HTTPResponse):
    """The final answer. http.client itself takes the first that is not 100 for it."""

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(MAX_INTERIM_ANSWERS + 1):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not is_interim(status):
                return version, status, reason
            self._skip_headers()
        raise HTTPException("too many interim answers")

    def _skip_headers(self) -> None:
        while self.fp.readline() not in (b"\r\n", b"\n", b""):
            pass


def is_interim(status: int) -> bool:
    """Whether another answer follows. After 101, another protocol would."""
    return status < HTTPStatus.OK and status != HTTPStatus.SWITCHING_PROTOCOLS


@contextmanager
def parsing_errors() -> Iterator[None]:
    """Raise HTTPException for whatever else http.client and email raise over a server's bytes.

    They document no exceptions; a negative size of a chunk is a ValueError, for example.
    """
    try:
        yield
    except (OSError, HTTPException):
        raise
    except Exception as error:
        raise HTTPException(type(error).__name__) from error


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
