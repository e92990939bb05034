"""Which addresses a request may connect to.

A name is resolved once. All its addresses are checked, and the connection is made to one of these
addresses, never to the name: another answer of the name server changes nothing.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from queue import Empty, SimpleQueue
from threading import Thread

from scheduled_tasks.conf import app_settings, host_or_network
from scheduled_tasks.exceptions import AddressRefused
from scheduled_tasks.outgoing.deadline import Deadline
from scheduled_tasks.outgoing.target import Address, Target

#: All public IPv6 addresses are in it.
GLOBAL_UNICAST = IPv6Network("2000::/3")
#: A gateway (NAT64) translates an address in it to the IPv4 address in its last 32 bits.
TRANSLATED = IPv6Network("64:ff9b::/96")
#: Not public, although ``ipaddress`` says so, in some versions of Python at least.
NOT_PUBLIC = (
    IPv4Network("192.0.0.0/24"),  # protocol assignments
    IPv4Network("192.88.99.0/24"),  # relays of 6to4
    IPv6Network("2002::/16"),  # 6to4: leads to the IPv4 address in it
    IPv6Network("3fff::/20"),  # documentation
)


def allowed_addresses(target: Target, deadline: Deadline) -> list[Address]:
    """Return the addresses of a target's host, in the order in which to try them.

    Raise AddressRefused if any of them may not be reached, OSError if there are none, and
    TimeoutError if the name server does not answer in time.
    """
    host = target.host
    addresses = resolved(host, deadline) if isinstance(host, str) else [host]
    for address in addresses:
        refuse_unreachable(target, address)
    return addresses


def refuse_at_sight(url: str) -> None:
    """Raise what sending to a URL raises before it asks a name server: the host may be an address.

    That is AddressRefused or another OutgoingError.
    """
    target = Target.of(url)
    if not isinstance(target.host, str):
        refuse_unreachable(target, target.host)


def refuse_unreachable(target: Target, address: Address) -> None:
    if not is_public(address) and not is_allowed(target.host, address):
        raise refusal(target, address)


def resolved(name: str, deadline: Deadline) -> list[Address]:
    """Return the addresses of a name.

    No name server can be made to answer in time, so it is asked in a thread that is left behind.
    """
    answers: SimpleQueue[list[Address] | OSError] = SimpleQueue()
    thread = Thread(target=resolve, args=(name, answers), name=f"resolve {name}", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(f"the name cannot be resolved: {error}") from error
    try:
        answer = answers.get(timeout=deadline.remaining())
    except Empty:
        raise TimeoutError from None
    if isinstance(answer, OSError):
        raise answer
    return answer


def resolve(name: str, answers: SimpleQueue[list[Address] | OSError]) -> None:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        answers.put(error)
    else:
        answers.put(list(dict.fromkeys(unmapped(str(info[4][0])) for info in found)))


def unmapped(text: str) -> Address:
    """Return the address; the IPv4 address if it is mapped into IPv6."""
    address = ip_address(text)
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address


def is_public(address: Address) -> bool:
    """Whether an address is one of the internet: neither this machine, nor a network around it."""
    if isinstance(address, IPv6Address):
        if address in TRANSLATED:
            return is_public(IPv4Address(address.packed[-4:]))
        if address not in GLOBAL_UNICAST:
            return False
    return (
        address.is_global
        and not address.is_multicast
        and not any(address in network for network in NOT_PUBLIC)
    )


def is_allowed(host: str | Address, address: Address) -> bool:
    """Whether OUTGOING_ALLOW has the name of the host, the address, or a network with it."""
    for entry in map(host_or_network, app_settings.OUTGOING_ALLOW):
        if entry == host if isinstance(entry, str) else address in entry:
            return True
    return False


def refusal(target: Target, address: Address) -> AddressRefused:
    leads = "" if address == target.host else f" leads to {address}, which"
    return AddressRefused(
        f"{target}{leads} is not a public address. If requests may reach it, add "
        f"{str(target.host)!r} to SCHEDULED_TASKS['OUTGOING_ALLOW']."
    )
