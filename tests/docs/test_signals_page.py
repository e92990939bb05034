"""What docs/signals.md shows is true."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import django
import pytest
from django.core import mail

from scheduled_tasks import run_task_now, scheduled_task
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Execution, ExecutionLog, Task
from scheduled_tasks.signals import execution_finished, execution_started, slot_missed
from scheduled_tasks.worker.scheduler import Scheduler

PAGE = (Path(__file__).parents[2] / "docs/signals.md").read_text()
REPORTING, ONE_HANDLER = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
HOUR = timedelta(hours=1)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def shop(
    registry: HandlerRegistry, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Any]]:
    """Run the examples of the page, in a shop whose cleanup fails; disconnect what they connect."""
    address = "ada@example.com"
    settings.ADMINS = [address if django.VERSION >= (6, 0) else ("Ada", address)]

    @scheduled_task(name="shop.cleanup")
    def cleanup() -> None:
        raise ValueError("no luck")

    @scheduled_task(name="shop.other")
    def other() -> None: ...

    module = ModuleType("shop.tasks")
    module.cleanup = cleanup  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "shop", ModuleType("shop"))
    monkeypatch.setitem(sys.modules, "shop.tasks", module)
    all_signals = (execution_started, execution_finished, slot_missed)
    before = [list(signal.receivers) for signal in all_signals]
    names: dict[str, Any] = {}
    exec(REPORTING + ONE_HANDLER, names)
    yield names
    for signal, receivers in zip(all_signals, before, strict=True):
        signal.receivers[:] = receivers
        signal.sender_receivers_cache.clear()


def test_failures_and_starts_are_reported(
    make_task: Callable[..., Task],
    scheduler: Callable[..., Scheduler],
    now: datetime,
    django_capture_on_commit_callbacks: Any,
) -> None:
    for name in ("cleanup", "other"):
        make_task(name, f"shop.{name}")
        run_task_now(name, now=now)
    with django_capture_on_commit_callbacks(execute=True):
        scheduler().tick(now)
    assert [message.subject.endswith("cleanup failed") for message in mail.outbox] == [True]
    assert mail.outbox[0].body == "ValueError: no luck"
    [line] = ExecutionLog.objects.filter(message__startswith="attempt 1 of execution")
    assert line.execution.task_name == "cleanup"


def test_a_missed_slot_is_reported(
    make_task: Callable[..., Task],
    scheduler: Callable[..., Scheduler],
    now: datetime,
    django_capture_on_commit_callbacks: Any,
) -> None:
    make_task("other", "shop.other", "every 1 hour", misfire_policy="skip")
    with django_capture_on_commit_callbacks(execute=True):
        scheduler().tick(now + 3.5 * HOUR)
    [message] = mail.outbox
    assert message.subject.endswith("other missed 3 slots")
    assert message.body == Execution.objects.get().reason
