"""Maintenance windows: planned, changed and ended."""

from __future__ import annotations
