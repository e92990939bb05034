"""Global pauses, and the banner shown while one is active."""

from __future__ import annotations
