"""The pages of executions."""

from __future__ import annotations
