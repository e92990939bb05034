"""The pages of workers and of pauses."""

from __future__ import annotations
