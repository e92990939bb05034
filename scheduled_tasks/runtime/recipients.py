"""Mail addresses: those of a notifier, and those in ``metadata.recipients`` of a task."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sized
from email.utils import getaddresses
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from scheduled_tasks.runtime.sanitizing import safe_repr

ADDRESSES = "an address, or a list of addresses, such as 'ops@shop.example'"
#: What may part the addresses of one text.
SEPARATORS = re.compile(r"[,;\n]")


def recipients_in(recipients: Any) -> Iterator[str]:
    """Yield what stands in a list of addresses, or in one text with addresses."""
    for entry in entries_of(recipients):
        parts = SEPARATORS.split(entry) if isinstance(entry, str) else [safe_repr(entry)]
        yield from filter(None, map(str.strip, parts))


def hold_empty_text(recipients: Any) -> bool:
    """Whether a text without an address is among them, such as that of an unset variable."""
    texts = [entry for entry in entries_of(recipients) if isinstance(entry, str)]
    return not all(any(recipients_in(text)) for text in texts)


def entries_of(recipients: Any) -> list[Any]:
    return recipients if isinstance(recipients, list) else [recipients]


def is_address(text: object) -> bool:
    """Whether it is a text with one mail address: ``a@b.example`` or ``Ada <a@b.example>``."""
    if not isinstance(text, str):
        return False
    found = getaddresses([text])
    if len(found) != 1 or not text.isprintable():
        return False
    try:
        validate_email(found[0][1])
    except ValidationError:
        return False
    return True


def are_no_addresses(texts: Sized) -> str:
    """Return the end of a sentence about texts that are no addresses."""
    return "is not an address" if len(texts) == 1 else "are not addresses"
