"""The public path of ``RunFilter``, for a project's LOGGING setting."""

from __future__ import annotations

from scheduled_tasks.runtime.logs.labels import RunFilter

__all__ = ["RunFilter"]
