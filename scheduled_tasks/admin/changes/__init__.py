"""The record of changes."""

from __future__ import annotations
