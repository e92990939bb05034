"""Handlers that end with more than anything keeps."""

from __future__ import annotations

from scheduled_tasks import scheduled_task


@scheduled_task
def return_many_keys() -> dict[str, int]:
    """Return half a million keys."""
    return {str(number): number for number in range(500_000)}


@scheduled_task
def return_long_text() -> str:
    """Return 200 MB, all of it secrets."""
    return "password=x " * (200_000_000 // 11)


@scheduled_task
def raise_long_error() -> None:
    """Raise an exception with a message of 300 MB."""
    raise ValueError("token:x " * (300_000_000 // 8))
