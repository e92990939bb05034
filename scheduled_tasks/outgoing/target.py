"""The URL of a request, taken apart once; whatever follows uses these parts and no text."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from scheduled_tasks.conf import host_name
from scheduled_tasks.exceptions import AddressRefused, OutgoingError

Address: TypeAlias = IPv4Address | IPv6Address

DEFAULT_PORTS = {"http": 80, "https": 443}
#: Control characters, some of which urlsplit() removes silently, and what is not UTF-8.
FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
BRACKETED = re.compile(r"\[(.*)\](?::.*)?")
#: What is not escaped in a path and a query; what is escaped already stays as it is.
SAFE = "/?%:@!$&'()*+,;=~[]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a request goes. As text it is the origin: the rest may hold secrets."""

    scheme: str
    #: A name in lower case without a final dot, or an address.
    host: str | Address
    port: int
    path: str = field(repr=False)
    #: The header for the user and password of the URL.
    authorization: str | None = field(repr=False)

    @classmethod
    def of(cls, url: str) -> Target:
        """Take a URL apart. Raise OutgoingError, or AddressRefused for what cannot be a host."""
        parts = split(url)
        if parts.scheme not in DEFAULT_PORTS:
            raise OutgoingError("The URL must begin with http:// or https://.", permanent=True)
        path = quote(parts.path or "/", safe=SAFE)
        return cls(
            scheme=parts.scheme,
            host=host_of(parts),
            port=port_of(parts),
            path=f"{path}?{quote(parts.query, safe=SAFE)}" if parts.query else path,
            authorization=basic_authorization(parts),
        )

    def joined(self, location: str) -> Target:
        """Return the target of a redirect. A user in ``location`` is ignored."""
        try:
            url = urljoin(self.url, location)
        except ValueError:
            raise AddressRefused("The URL has an invalid host.") from None
        return replace(Target.of(url), authorization=self.authorization)

    @property
    def authority(self) -> str:
        """The host and a port that is not the default, as in the Host header."""
        host = f"[{self.host}]" if isinstance(self.host, IPv6Address) else str(self.host)
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL without user and fragment."""
        return f"{self}{self.path}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


def split(url: str) -> SplitResult:
    if FORBIDDEN.search(url):
        raise OutgoingError("The URL has a character that cannot be sent.", permanent=True)
    try:
        return urlsplit(url)
    except ValueError:
        raise AddressRefused("The URL has an invalid host.") from None


def host_of(parts: SplitResult) -> str | Address:
    host_and_port = parts.netloc.rpartition("@")[2]
    if bracketed := BRACKETED.fullmatch(host_and_port):
        return ipv6_address(bracketed[1])
    text = host_and_port.partition(":")[0]
    try:
        return IPv4Address(text.removesuffix("."))
    except ValueError:
        pass
    try:
        return host_name(text)
    except ValueError:
        raise AddressRefused(
            f"{text!r} is not a host that may be reached. Write a name in ASCII (with xn-- if it "
            "has other letters), or an IPv4 address as four decimal numbers."
        ) from None


def ipv6_address(text: str) -> Address:
    try:
        address = IPv6Address(text)
    except ValueError:
        raise AddressRefused(f"[{text}] is not an IPv6 address.") from None
    if address.scope_id:
        raise AddressRefused(f"[{text}] names an interface of this machine.")
    return address.ipv4_mapped or address


def port_of(parts: SplitResult) -> int:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise OutgoingError("The URL has an invalid port.", permanent=True)
    return port or DEFAULT_PORTS[parts.scheme]


def basic_authorization(parts: SplitResult) -> str | None:
    if parts.username is None:
        return None
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {b64encode(user.encode()).decode('ascii')}"
