"""What docs/retention.md says of settings, and the task that prunes at an hour of choice."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from scheduled_tasks import get_task
from scheduled_tasks.conf import AppSettings
from scheduled_tasks.handlers.declarations import Options
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Task
from scheduled_tasks.operations.pruning import TASK_NAME
from scheduled_tasks.operations.sync import sync
from scheduled_tasks.testing import run_task
from tests.support.attempts import NOTHING
from tests.support.old_rows import add_lines, old_execution

PAGE = (Path(__file__).parents[2] / "docs/retention.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.django_db
@pytest.mark.usefixtures("nothing")
def test_the_task_of_the_page_prunes(
    registry: HandlerRegistry, make_task: Callable[..., Task], now: datetime, settings: Any
) -> None:
    settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, "KEEP_LAST": 0}
    add_lines(old_execution(make_task("daily", NOTHING), now, 91), 3)
    [code] = [code for code in PYTHON if "prune_executions" in code]
    exec(code, {"__name__": "shop.tasks"})
    sync()
    execution = run_task(TASK_NAME, now=now)
    assert execution.result == {"executions": 1, "log_lines": 3}
    assert get_task(TASK_NAME).timezone == "Europe/Berlin"
    assert f"task that is named `{TASK_NAME}`" in PAGE


def test_the_days_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| .* \| (\d+) days.* \| `(\w+)` \| `(\w+)` \|$", PAGE, re.MULTILINE)
    assert {(setting, getattr(AppSettings(), setting)) for _, setting, _ in rows} == {
        (setting, int(days)) for days, setting, _ in rows
    }
    assert len(rows) == 3
    assert {option for *_, option in rows} <= set(Options.__annotations__)
    assert f"`KEEP_LAST` ({AppSettings().KEEP_LAST})" in PAGE
