"""The list of workers."""

from __future__ import annotations
