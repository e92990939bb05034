"""The page of unresolved failures, also called dead letters, grouped by cause."""

from __future__ import annotations
