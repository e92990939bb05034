"""Calls the code of a type that a project declares, which may raise anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import ValidationError
from django.db import Error as DatabaseFailure

from scheduled_tasks.handlers.payloads.argument_types import shorten
from scheduled_tasks.runtime.bounded_repr import class_name, own_text
from scheduled_tasks.runtime.sanitizing import redacted_text

#: They say nothing about a value. A run that meets one may be retried, unlike a refused payload.
OUTAGES = (DatabaseFailure, ConnectionError, TimeoutError, MemoryError)
#: Their texts are sentences for people; those of others, such as KeyError, need their class.
SENTENCES = (AssertionError, TypeError, ValidationError, ValueError)
#: Of what a type says about a value, in characters.
MAX_REASON_LENGTH = 200


@contextmanager
def refusals_by(kind: Any) -> Iterator[None]:
    """Raise ValueError with a sentence for whatever the code of a type raises, but for outages."""
    try:
        yield
    except OUTAGES:
        raise
    except Exception as error:  # noqa: BLE001 -- it is the project's code
        raise ValueError(f"is refused by {kind.__name__}: {reason_of(error)}.") from None


def reason_of(error: Exception) -> str:
    """Return what an exception says as one short line that can be stored, without secrets."""
    said = redacted_text(own_text(said_by, error))
    if not said or not isinstance(error, SENTENCES):
        said = f"{class_name(error)}: {said}" if said else class_name(error)
    return shorten(said, limit=MAX_REASON_LENGTH).rstrip(".")


def said_by(error: Exception) -> str:
    return " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
