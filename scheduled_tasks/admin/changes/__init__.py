"""The history of changes to tasks."""

from __future__ import annotations
