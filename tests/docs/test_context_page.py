"""What docs/context.md shows is true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from django.test import override_settings

from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.runtime.redaction import mask_secrets
from scheduled_tasks.testing import run_handler
from tests.support.processes import ROOT

PAGE = (Path(__file__).parents[2] / "docs/context.md").read_text()
EXAMPLE, LOGGING, REDACT = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


class GatewayError(Exception):
    """What the shop's gateway raises."""


def sync_orders(registry: HandlerRegistry, orders: list[str]) -> Any:
    def send(order: str) -> None:
        if order == "odd":
            raise GatewayError(order)

    names = {
        "changed_orders": lambda shop, since: orders,
        "send": send,
        "GatewayError": GatewayError,
    }
    namespace: dict[str, Any] = {"__name__": "shop.tasks", **names}
    exec(EXAMPLE, namespace)
    return namespace["sync_orders"]


def test_the_example_ends_in_each_of_its_ways(registry: HandlerRegistry) -> None:
    run = run_handler(sync_orders(registry, ["one", "two"]))
    assert (run.status, run.result) == ("success", {"orders": 2})
    assert run.progress is not None
    assert (run.progress.done, run.progress.total, run.progress.text) == (2, 2, "orders")


def test_the_example_skips_when_nothing_has_changed(registry: HandlerRegistry) -> None:
    run = run_handler(sync_orders(registry, []))
    assert (run.status, run.reason) == ("skipped", "no order has changed")


def test_the_example_succeeds_in_part(registry: HandlerRegistry) -> None:
    run = run_handler(sync_orders(registry, ["one", "odd", "two"]))
    assert run.status == "partial"
    assert (run.counts.processed, run.counts.errors) == (3, 1)
    [line] = run.log
    assert line.message.startswith("order odd was refused\nTraceback")


IN_A_RUN = """
import logging.config
from scheduled_tasks.runtime.logs.capture import logged_to
from scheduled_tasks.runtime.logs.run_log import RunLog
from tests.executors.runs import run_of
from tests.support.recorders import FakeRecorder

logging.config.dictConfig(LOGGING)
with logged_to(RunLog(run_of(4711), FakeRecorder()), alone=True):
    logging.getLogger("shop").info("within")
logging.getLogger("shop").info("outside")
"""


def test_the_format_shows_which_run_logged_a_line() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", LOGGING + IN_A_RUN],
        cwd=ROOT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stderr.splitlines() == [
        "INFO shop within task=one execution=4711",
        "INFO shop outside ",
    ]


def test_the_settings_can_add_names_of_secrets() -> None:
    namespace: dict[str, Any] = {}
    exec(REDACT, namespace)
    with override_settings(SCHEDULED_TASKS=namespace["SCHEDULED_TASKS"]):
        assert mask_secrets("pin=1234 token=5") == "pin=[redacted] token=[redacted]"


def test_settings_can_import_them_before_being_configured() -> None:
    subprocess.run([sys.executable, "-c", REDACT], cwd=ROOT, env={}, check=True)
