"""The id by which a service ties the start of a run to its end."""

from __future__ import annotations

import uuid

NAMESPACE = uuid.UUID("5d0f0b62-7f0c-4f4e-9d1e-0f6d6a3b7c11")


def run_id(execution_id: int, *, environment: str = "") -> uuid.UUID:
    """Return the same id for all attempts of an execution, in every process.

    ``environment`` keeps apart what has a database of its own but shares the service.
    """
    return uuid.uuid5(NAMESPACE, f"{environment} {execution_id}")
