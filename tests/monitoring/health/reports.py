"""Reports of the health, as tests read them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from scheduled_tasks.monitoring.health import report as health_module
from scheduled_tasks.monitoring.health.report import health


def said(now: datetime, **options: Any) -> tuple[str, str]:
    """Return the level and the sentence."""
    report = health(now, **options)
    return report.level.name, report.sentence


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Let each look at the health raise an error."""

    def fail(*args: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(health_module, "health_of", fail)
