"""What may be reached: public addresses, and what OUTGOING_ALLOW names."""

from __future__ import annotations

import socket
import threading
from ipaddress import ip_address
from typing import Any

import pytest

from scheduled_tasks.exceptions import AddressRefused, OutgoingError
from scheduled_tasks.outgoing import connection
from scheduled_tasks.outgoing.addresses import is_public
from scheduled_tasks.outgoing.sending import send
from tests.outgoing.conftest import Allow, NameServer
from tests.outgoing.servers import ok, redirect, serving

#: Hosts that are refused whatever a name server says.
REFUSED_HOSTS = [
    # this machine, in many spellings
    "127.0.0.1",
    "127.0.0.1.",
    "127.255.255.254",
    "127.1",
    "127.0.1",
    "0x7f.1",
    "0x7f.0.0.1",
    "0X7F000001",
    "0177.0.0.1",
    "0177.1",
    "017700000001",
    "2130706433",
    "127.0.0.01",
    "127.0.0.0x1",
    "127.0.0.1..",
    "0",
    "0.0.0.0",
    "0.1.2.3",
    "0x",
    "１２７.0.0.1",  # noqa: RUF001 -- fullwidth digits
    "127。0。0。1",
    "①②⑦.0.0.1",
    "loc\u212ahost",
    "loc%61lhost",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[::1%25lo]",
    "[127.0.0.1]",
    # networks around it
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[fec0::1]",
    "[::ffff:10.0.0.1]",
    # the link: metadata of clouds
    "169.254.169.254",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[fe80::1%eth0]",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "0xA9FEA9FE",
    "2852039166",
    # IPv4 addresses that gateways and tunnels lead to
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::1]",
    "[2002:7f00:1::]",
    "[2002:808:808::]",
    "[2001:0:7f00:1::]",
    # what is not for one host, or not assigned
    "192.0.0.9",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "[100::1]",
    "[2001:db8::1]",
    "[3fff::1]",
    "[5f00::1]",
    "[ff02::1]",
    "[4000::1]",
]


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record what is connected to instead of connecting."""
    tried: list[Any] = []

    def connect(address: Any, port: int, timeout: float) -> socket.socket:
        tried.append(str(address))
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(connection, "connect", connect)
    return tried


@pytest.mark.parametrize("host", REFUSED_HOSTS)
def test_a_host_that_is_not_public_is_refused(host: str, attempts: list[Any]) -> None:
    with pytest.raises(AddressRefused) as refused:
        send("GET", f"http://{host}:8080/")
    assert refused.value.permanent
    assert attempts == []


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "::1", "::ffff:10.0.0.1", "169.254.169.254", "fe80::1%2", "64:ff9b::a00:1"],
)
def test_a_name_that_leads_inside_is_refused(
    address: str, name_server: NameServer, attempts: list[Any]
) -> None:
    name_server.add("shop.example", [address])
    with pytest.raises(AddressRefused, match=r"http://shop\.example leads to "):
        send("GET", "http://shop.example/")
    assert attempts == []


def test_one_refused_address_among_several_suffices(
    name_server: NameServer, attempts: list[Any]
) -> None:
    name_server.add("shop.example", ["8.8.8.8", "2606:4700::1111", "10.0.0.5", "1.1.1.1"])
    with pytest.raises(AddressRefused) as refused:
        send("GET", "http://shop.example/")
    assert str(refused.value) == (
        "http://shop.example leads to 10.0.0.5, which is not a public address. If requests may "
        "reach it, add 'shop.example' to SCHEDULED_TASKS['OUTGOING_ALLOW']."
    )
    assert attempts == []


def test_public_addresses_are_tried_in_their_order(
    name_server: NameServer, attempts: list[Any]
) -> None:
    name_server.add("shop.example", ["2606:4700::1111", "8.8.8.8", "64:ff9b::808:808", "8.8.8.8"])
    with pytest.raises(OutgoingError, match=r"^The connection to http://shop\.example failed"):
        send("GET", "http://shop.example/")
    assert attempts == ["2606:4700::1111", "8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "100.63.255.255",
        "100.128.0.0",
        "172.32.0.1",
        "192.0.1.1",
        "223.255.255.254",
        "2606:4700:4700::1111",
        "64:ff9b::8.8.8.8",
    ],
)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "entry", ["127.0.0.1", "127.0.0.0/8", "0.0.0.0/0", "localhost.test", "LocalHost.Test."]
)
def test_what_the_setting_names_is_reached(
    entry: str, allow: Allow, name_server: NameServer
) -> None:
    allow("10.0.0.0/8", entry)
    name_server.add("localhost.test", ["127.0.0.1"])
    with serving() as server:
        assert send("GET", f"http://localhost.test:{server.port}/").body == b"hello"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1.", "[::ffff:127.0.0.1]"])
def test_an_allowed_address_is_reached_directly(host: str, allow: Allow) -> None:
    allow("127.0.0.1")
    with serving() as server:
        assert send("GET", f"http://{host}:{server.port}/").status == 200
    [request] = server.requests
    assert request.header("host") == f"127.0.0.1:{server.port}"


def test_a_mapped_answer_is_an_ipv4_address(allow: Allow, name_server: NameServer) -> None:
    allow("127.0.0.0/8")
    name_server.add("shop.example", ["::ffff:127.0.0.1"])
    with serving() as server:
        assert send("GET", f"http://shop.example:{server.port}/").body == b"hello"


def test_an_allowed_ipv6_address_is_reached(allow: Allow) -> None:
    allow("::1")
    with serving(host="::1") as server:
        assert send("GET", f"http://[0::1]:{server.port}/").status == 200
    assert server.requests[0].header("host") == f"[::1]:{server.port}"


@pytest.mark.parametrize(
    "entry", ["example", "hop.example", "a.shop.example", "127.0.0.2", "128.0.0.0/1", "::1"]
)
def test_other_names_and_networks_allow_nothing(
    entry: str, allow: Allow, name_server: NameServer, attempts: list[Any]
) -> None:
    allow(entry)
    name_server.add("shop.example", ["127.0.0.1"])
    with pytest.raises(AddressRefused):
        send("GET", "http://shop.example/")
    assert attempts == []


def test_odd_spellings_are_refused_even_if_allowed(allow: Allow, attempts: list[Any]) -> None:
    allow("127.0.0.0/8")
    with pytest.raises(AddressRefused, match=r"'0x7f\.1' is not a host .* four decimal numbers"):
        send("GET", "http://0x7f.1/")
    assert attempts == []


def test_a_changed_answer_does_not_move_the_connection(
    allow: Allow, name_server: NameServer
) -> None:
    """Whoever asks first gets an allowed address, and whoever asks again another one."""
    allow("127.0.0.1")
    name_server.add("shop.example", ["127.0.0.1"], ["127.0.0.2"])
    with (
        serving(ok(b"public")) as server,
        serving(ok(b"inner"), host="127.0.0.2", port=server.port) as inner,
    ):
        assert send("GET", f"http://shop.example:{server.port}/").body == b"public"
    assert name_server.lookups == ["shop.example"]
    assert server.requests[0].header("host") == f"shop.example:{server.port}"
    assert inner.connections == 0


def test_each_redirect_is_checked_again(allow: Allow, name_server: NameServer) -> None:
    allow("127.0.0.1")
    name_server.add("shop.example", ["127.0.0.1"], ["127.0.0.2"])
    with (
        serving(redirect("/next")) as server,
        pytest.raises(AddressRefused, match=r"leads to 127\.0\.0\.2"),
    ):
        send("GET", f"http://shop.example:{server.port}/")
    assert server.connections == 1


def test_the_next_address_is_tried_when_one_fails(allow: Allow, name_server: NameServer) -> None:
    allow("shop.example")
    name_server.add("shop.example", ["::1", "127.0.0.2", "127.0.0.1"])
    with serving() as server:
        assert send("GET", f"http://shop.example:{server.port}/").body == b"hello"


def test_a_name_without_addresses_is_an_error(name_server: NameServer) -> None:
    with pytest.raises(OutgoingError) as failed:
        send("GET", "https://no.example/")
    assert str(failed.value) == "https://no.example cannot be resolved: Name or service not known."
    assert not failed.value.permanent


def test_without_a_new_thread_the_request_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(OutgoingError, match="can't start new thread"):
        send("GET", "https://no.example/")
