"""Global pauses."""

from __future__ import annotations
