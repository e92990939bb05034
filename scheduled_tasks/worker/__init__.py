"""The process that fires, claims and runs what is due, and what it watches meanwhile."""

from __future__ import annotations
