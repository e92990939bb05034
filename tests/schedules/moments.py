"""Moments as tests write them."""

from __future__ import annotations

from datetime import UTC, datetime


def utc(text: str) -> datetime:
    """Read ``2026-03-29 01:00`` as an instant."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
