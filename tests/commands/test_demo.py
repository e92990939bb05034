"""The demo: what it shows, and that nothing of it stays."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from example_project.shop import tasks
from example_project.shop.models import Order
from scheduled_tasks.testing import run_handler
from tests.support.processes import LONG, ROOT, alive


@pytest.mark.without_database
def test_ctrl_c_ends_it_and_leaves_nothing(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
    environment |= {"DJANGO_SETTINGS_MODULE": "example_project.settings", "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "manage.py", "demo"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    ) as demo:
        try:
            assert demo.stdout is not None
            shown = ""
            while "success task=take_orders" not in shown:
                line = demo.stdout.readline()
                assert line, shown
                shown += line
            # Not "skipped": a run of a loaded machine may last until the next slot.
            assert "missed" not in shown
            family = psutil.Process(demo.pid).children(recursive=True)
            demo.send_signal(signal.SIGINT)
            demo.send_signal(signal.SIGTERM)
            shown += demo.communicate(timeout=LONG)[0]
        finally:
            with suppress(ProcessLookupError):
                os.killpg(demo.pid, signal.SIGKILL)
    assert demo.returncode == 0, shown
    [database] = re.findall(r"Database: +(\S+)", shown)
    assert Path(database).is_relative_to(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert not any(alive(process.pid) for process in family)


@pytest.mark.without_database
@pytest.mark.parametrize("port", ["0", "99999", "http", "-1", "\u00b2"])
def test_a_port_that_does_not_exist_is_refused(port: str) -> None:
    with pytest.raises(CommandError, match="must be a number from 1 to 65535"):
        call_command("demo", f"--port={port}")


@pytest.mark.django_db
@pytest.mark.any_database
def test_each_kind_of_end_has_an_example() -> None:
    assert run_handler(tasks.send_receipts).status == "skipped"
    for customer in ("Ada", "Donald"):
        Order.objects.create(
            customer=customer, total=1, status=Order.Status.PAID, created_at=timezone.now()
        )
    receipts = run_handler(tasks.send_receipts)
    assert (receipts.status, receipts.result) == ("partial", {"sent": 1})
    Order.objects.update(status=Order.Status.OPEN)
    charged = [run_handler(tasks.charge_cards, attempt=attempt) for attempt in (1, 2)]
    assert [(run.status, run.error_category) for run in charged] == [
        ("failed", "network"),
        ("success", ""),
    ]
    assert run_handler(tasks.import_prices).error == "KeyError: 'price'"
