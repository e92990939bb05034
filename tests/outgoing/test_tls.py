"""TLS: whom a certificate must be for, who must have signed it, and what names the host."""

from __future__ import annotations

import ssl
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import trustme

from scheduled_tasks.exceptions import OutgoingError
from scheduled_tasks.outgoing.connection import tls_context
from scheduled_tasks.outgoing.sending import send
from tests.outgoing.conftest import Allow, NameServer
from tests.outgoing.servers import Server, redirect, serving


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(autouse=True)
def trusting(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allow: Allow
) -> None:
    """Let the system trust the authority, as operators do, and loopback be reached."""
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    monkeypatch.setattr("scheduled_tasks.outgoing.connection.tls_context", tls_context.__wrapped__)
    allow("127.0.0.0/8")


@pytest.fixture(autouse=True)
def shop(name_server: NameServer) -> None:
    name_server.add("shop.example", ["127.0.0.1"])


def context_for(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


def failure(server: Server) -> str:
    with pytest.raises(OutgoingError) as failed:
        send("GET", f"https://shop.example:{server.port}/")
    assert not failed.value.permanent
    assert server.requests == []
    return str(failed.value).replace(f":{server.port}", "")


def test_the_name_is_verified_and_sent(authority: trustme.CA, name_server: NameServer) -> None:
    """The connection is made to an address; the certificate and SNI are those of the name."""
    asked: list[str | None] = []
    context = context_for(authority, "shop.example")
    context.sni_callback = lambda sock, name, context: asked.append(name)
    with serving(tls=context) as server:
        assert send("GET", f"https://shop.example:{server.port}/").body == b"hello"
    assert asked == ["shop.example"]
    assert server.requests[0].header("host") == f"shop.example:{server.port}"
    assert name_server.lookups == ["shop.example"]


def test_a_handshake_has_all_the_time_left(authority: trustme.CA, name_server: NameServer) -> None:
    """The connection before it had a tenth of the time, since there are ten addresses."""
    name_server.add("shop.example", [f"127.0.0.{n}" for n in range(1, 11)])

    def hesitate(*arguments: Any) -> None:
        Event().wait(0.4)

    context = context_for(authority, "shop.example")
    context.sni_callback = hesitate
    with serving(tls=context) as server:
        assert send("GET", f"https://shop.example:{server.port}/", timeout=3).status == 200


def test_an_address_is_verified_as_such(authority: trustme.CA) -> None:
    with serving(tls=context_for(authority, "127.0.0.1")) as server:
        assert send("GET", f"https://127.0.0.1:{server.port}/").body == b"hello"


def test_a_certificate_for_the_address_does_not_suffice(authority: trustme.CA) -> None:
    with serving(tls=context_for(authority, "127.0.0.1", "other.example")) as server:
        assert failure(server) == (
            "https://shop.example has no valid certificate: Hostname mismatch, certificate is not "
            "valid for 'shop.example'."
        )


def test_an_unknown_authority_is_refused() -> None:
    with serving(tls=context_for(trustme.CA(), "shop.example")) as server:
        assert failure(server).startswith("https://shop.example has no valid certificate: ")


def test_old_versions_of_tls_are_refused(authority: trustme.CA) -> None:
    context = context_for(authority, "shop.example")
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with serving(tls=context) as server:
        assert failure(server).startswith("https://shop.example does not speak TLS as expected: ")


def test_a_server_without_tls_is_an_error() -> None:
    with serving(reads=False) as server:
        assert failure(server).startswith("https://shop.example does not speak TLS as expected: ")


def test_a_redirect_without_tls_is_refused(authority: trustme.CA) -> None:
    with serving(tls=context_for(authority, "shop.example")) as server:
        server.answers = (redirect(f"http://shop.example:{server.port}/"),)
        with pytest.raises(OutgoingError, match="redirects to http://") as refused:
            send("GET", f"https://shop.example:{server.port}/")
    assert refused.value.permanent
    assert server.connections == 1


def test_authorities_are_read_once() -> None:
    assert tls_context() is tls_context()
    assert tls_context().verify_mode is ssl.CERT_REQUIRED
    assert tls_context().check_hostname
