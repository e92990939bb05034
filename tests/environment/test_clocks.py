"""Workers whose wall clock jumps, while another worker's does not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.db.models import F

from scheduled_tasks.models import Execution, ExecutionLog, Task, Worker
from tests.concurrency.runs import fresh, queue_a_run, wait_for_lines
from tests.environment.surroundings import EXECUTORS, worker
from tests.support.processes import LONG, options, wait_until

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        not sys.platform.startswith("linux") or shutil.which("cc") is None,
        reason="needs Linux and a C compiler, to set the clock of one process",
    ),
]

SOURCE = Path(__file__).with_name("clock_offset.c")
#: In seconds: an hour and a day ahead and back, and right again.
JUMPS = (3_600, -3_600, 86_400, -86_400, 0)
LEASE = 3
SECOND = timedelta(seconds=1)
#: No execution of these tests is later than this, on a loaded machine.
MAX_LATE = timedelta(seconds=LONG)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a library that shifts the wall clock of a process."""
    path = tmp_path_factory.mktemp("clock") / "clock_offset.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", path, SOURCE], check=True)
    return path


@pytest.mark.long
@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_wall_clock_that_jumps_changes_nothing(
    library: Path, tmp_path: Path, executor: str
) -> None:
    offset, marks, release = tmp_path / "offset", tmp_path / "marks", tmp_path / "release"
    offset.write_text("0")
    given = {
        "TEST_OPTIONS": options(LEASE=LEASE),
        "MARK_FILE": str(marks),
        "RELEASE_FILE": str(release),
    }
    Task(
        name="often",
        handler="jobs.tell",
        schedule="every 1 second",
        misfire_policy="all",
        executor=executor,
    ).save()
    held = queue_a_run("hold", executor=executor)
    with worker(
        "--worker-name=jumps", LD_PRELOAD=str(library), CLOCK_OFFSET_FILE=str(offset), **given
    ) as jumps:
        wait_for_lines(marks, 1)
        with worker("--worker-name=steady", **given) as steady:
            for jump in JUMPS:
                offset.write_text(str(jump))
                ended = Execution.objects.of_slots().finished().count()
                wait_until(
                    lambda ended=ended: Execution.objects.of_slots().finished().count() > ended,
                    within=LONG,
                )
            release.touch()
            wait_until(lambda: fresh(held).finished, within=LONG)
            outputs = [jumps.stop(), steady.stop()]
    assert (held.status, held.attempt, held.losses) == ("success", 1, 0)
    assert held.duration_ms >= 0
    assert not any("worker lost" in output for output in outputs)
    assert {row.state for row in Worker.objects.all()} == {Worker.State.STOPPED}
    every_slot_ran_in_time()


def every_slot_ran_in_time() -> None:
    """Check that each slot ran once, and that all its times are true."""
    slots = sorted(slot for row in Execution.objects.of_slots() for slot in slots_of(row))
    assert len(slots) > len(JUMPS)
    assert slots == [slots[0] + number * SECOND for number in range(len(slots))]
    ran = Execution.objects.of_slots().filter(status="partial")
    assert ran.exists()
    assert not ran.filter(duration_ms__lt=0).exists()
    assert not ran.filter(started_at__lt=F("slot")).exists()
    assert not ran.filter(finished_at__gt=F("slot") + MAX_LATE).exists()
    lines = ExecutionLog.objects.filter(execution__in=ran)
    assert not lines.filter(logged_at__lt=F("execution__slot")).exists()
    assert not lines.filter(logged_at__gt=F("execution__slot") + MAX_LATE).exists()


def slots_of(execution: Execution) -> list[datetime]:
    """Return the slot of an execution, or the slots that a row covers."""
    assert execution.slot is not None
    last = execution.slot_until or execution.slot
    return [execution.slot + n * SECOND for n in range((last - execution.slot) // SECOND + 1)]
