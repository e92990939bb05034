"""The name under which a project's LOGGING finds the filter of runs."""

from __future__ import annotations

from scheduled_tasks.runtime.logs.capture import RunFilter

__all__ = ["RunFilter"]
