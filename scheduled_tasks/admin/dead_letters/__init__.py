"""The page of what failed for good."""

from __future__ import annotations
