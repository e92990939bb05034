"""Registries of handlers that start empty."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from scheduled_tasks.handlers.registry import HandlerRegistry


@contextmanager
def isolated(registry: HandlerRegistry) -> Iterator[HandlerRegistry]:
    """Let a registry be empty inside this block, and restore everything after it."""
    kept = (registry._registrations, registry._declared, registry._resolved)
    registry._registrations, registry._declared, registry._resolved = [], [], None
    try:
        yield registry
    finally:
        registry._registrations, registry._declared, registry._resolved = kept
