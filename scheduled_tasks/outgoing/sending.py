"""Send a request to an address that may be reached, within limits of time and size."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPException, RemoteDisconnected
from socket import gaierror

from scheduled_tasks.exceptions import OutgoingError
from scheduled_tasks.outgoing.addresses import allowed_addresses
from scheduled_tasks.outgoing.connection import TooManyBytes, connection
from scheduled_tasks.outgoing.deadline import Deadline
from scheduled_tasks.outgoing.exchange import Response, exchange
from scheduled_tasks.outgoing.headers import checked
from scheduled_tasks.outgoing.target import DEFAULT_PORTS, Target

MAX_REDIRECTS = 5
METHOD = re.compile(r"[A-Z]+")
#: They make a tunnel, or an echo of the headers.
REFUSED_METHODS = ("CONNECT", "TRACE")
READING_METHODS = ("GET", "HEAD")
#: After these, clients send the same method and body again.
KEEPING_METHOD = (HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT)
REDIRECTS = (
    HTTPStatus.MOVED_PERMANENTLY,
    HTTPStatus.FOUND,
    HTTPStatus.SEE_OTHER,
    *KEEPING_METHOD,
)


def send(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout: float = 10.0,
    max_bytes: int = 1_000_000,
    follow_redirects: bool = True,
) -> Response:
    """Send a request and return the answer, whatever its status.

    ``timeout`` is for everything: the name server, the connection, redirects, the whole body. Of a
    body, ``max_bytes`` are read. Redirects of GET and HEAD within one host are followed, of other
    methods only those that keep the method; another host is refused.

    Raise AddressRefused if the host is not public and not in OUTGOING_ALLOW, and OutgoingError if
    there is no answer.
    """
    target, deadline, headers = Target.of(url), Deadline(timeout), checked(headers or {})
    refuse_method(method)
    for _ in range(MAX_REDIRECTS + 1):
        with described_errors(target, timeout):
            addresses = allowed_addresses(target, deadline)
            with connection(target, addresses, deadline) as sock:
                response = exchange(
                    sock, method, target, headers=headers, body=body, max_bytes=max_bytes
                )
        location = location_of(response, method) if follow_redirects else None
        if location is None:
            return response
        target = redirected(target, location)
    raise OutgoingError(f"{target} redirects more than {MAX_REDIRECTS} times.", permanent=True)


def connect(url: str, *, timeout: float = 10.0) -> None:
    """Connect to the host of a URL, and send nothing. Raise as ``send`` does."""
    target, deadline = Target.of(url), Deadline(timeout)
    with described_errors(target, timeout):
        addresses = allowed_addresses(target, deadline)
        with connection(target, addresses, deadline):
            pass


def refuse_method(method: str) -> None:
    if not METHOD.fullmatch(method) or method in REFUSED_METHODS:
        raise OutgoingError(f"The method {method!r} cannot be sent.", permanent=True)


def location_of(response: Response, method: str) -> str | None:
    """Return where a response redirects to. None if it does not, or would change the method."""
    follows = REDIRECTS if method in READING_METHODS else KEEPING_METHOD
    location = response.headers.get("location")
    if not location or response.status not in follows:
        return None
    # http.client reads headers as Latin-1; what is not ASCII is UTF-8 today.
    return location.encode("latin-1").decode("utf-8", "replace")


def redirected(target: Target, location: str) -> Target:
    """Return where to go on. Raise OutgoingError unless it is the same host, and as secure."""
    try:
        new = target.joined(location)
    except OutgoingError:
        raise OutgoingError(f"{target} redirects to an invalid URL.", permanent=True) from None
    if not is_same_server(target, new):
        raise OutgoingError(
            f"{target} redirects to {new}; only redirects to the same host and port, or from "
            "http to https, are followed.",
            permanent=True,
        )
    return new


def is_same_server(old: Target, new: Target) -> bool:
    if new.host != old.host:
        return False
    if (new.scheme, new.port) == (old.scheme, old.port):
        return True
    by_default = all(DEFAULT_PORTS[target.scheme] == target.port for target in (old, new))
    return by_default and new.scheme == "https"


@contextmanager
def described_errors(target: Target, timeout: float) -> Iterator[None]:
    """Raise OutgoingError for what the socket, TLS and http.client raise.

    Nothing that the server sent is quoted: it may be any server, and anyone may read the message.
    """
    try:
        yield
    except TimeoutError:
        raise OutgoingError(f"{target} did not answer in full within {timeout:g} s.") from None
    except RemoteDisconnected:
        raise OutgoingError(f"{target} closed the connection without an answer.") from None
    except TooManyBytes:
        raise OutgoingError(f"{target} sent too much besides the body of its answer.") from None
    except HTTPException as error:
        kind = type(error).__name__
        raise OutgoingError(f"{target} did not answer in valid HTTP ({kind}).") from None
    except gaierror as error:
        raise OutgoingError(f"{target} cannot be resolved: {error.strerror}.") from error
    except ssl.SSLCertVerificationError as error:
        reason = error.verify_message.rstrip(".")
        raise OutgoingError(f"{target} has no valid certificate: {reason}.") from error
    except ssl.SSLError as error:
        reason = error.reason or str(error)
        raise OutgoingError(f"{target} does not speak TLS as expected: {reason}.") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutgoingError(f"The connection to {target} failed: {reason}.") from error
