"""The headers of a request: what may be given, and what is added."""

from __future__ import annotations

import re
from collections.abc import Mapping

from scheduled_tasks.exceptions import OutgoingError
from scheduled_tasks.outgoing.target import Target

#: They say where a message goes and where it ends, and so are set here only.
RESERVED = frozenset(
    (
        "connection",
        "content-length",
        "expect",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
VALUE = re.compile(r"[\t\x20-\x7e]*")
#: The body is not decoded, so that a small answer cannot become a huge one.
DEFAULTS = {"User-Agent": "scheduled-tasks", "Accept": "*/*", "Accept-Encoding": "identity"}


def checked(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers with the default ones. Raise OutgoingError for what cannot be sent."""
    for name, value in headers.items():
        refuse_invalid(name, value)
    given = {name.lower() for name in headers}
    defaults = {name: value for name, value in DEFAULTS.items() if name.lower() not in given}
    return {**defaults, **headers}


def refuse_invalid(name: str, value: str) -> None:
    if not NAME.fullmatch(name):
        raise OutgoingError(f"{name!r} cannot be the name of a header.", permanent=True)
    if name.lower() in RESERVED:
        raise OutgoingError(f"The header {name!r} cannot be given.", permanent=True)
    if not VALUE.fullmatch(value):
        raise OutgoingError(
            f"The header {name!r} has a character that is not printable ASCII.", permanent=True
        )


def for_target(headers: Mapping[str, str], target: Target) -> dict[str, str]:
    """Return the headers with those that depend on the URL."""
    added = {"Host": target.authority, "Connection": "close"}
    if target.authorization and "authorization" not in map(str.lower, headers):
        added["Authorization"] = target.authorization
    return {**added, **headers}
