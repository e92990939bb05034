"""Two workers that are replaced by those of the next release, and what happened meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import psutil

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models import Attempt, Execution, Task, TaskState, Worker
from tests.chaos import journal
from tests.chaos.fleet import Running, comes_from, name_of
from tests.chaos.history import History, Row, Tried
from tests.chaos.plan import Planned
from tests.support.processes import LONG, ROOT, database_url, wait_until

RELEASES = ROOT / "tests/releases"
REPLICAS = 2
SECOND = timedelta(seconds=1)


class Deployment:
    """Workers of two releases, and the commands that a deploy consists of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workers: dict[str, Running] = {}
        (folder / journal.LOCKS).mkdir()
        (folder / journal.JOURNAL).touch()

    def environment(self, release: str) -> dict[str, str]:
        """Return the environment in which the code of a release is found."""
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.releases.settings",
            "DATABASE_URL": database_url(),
            "PYTHONPATH": str(RELEASES / release),
            journal.FOLDER: str(self.folder),
        }

    def migrate(self, release: str) -> None:
        """Run ``migrate`` with the code of a release, which writes its tasks."""
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "--verbosity=0"],
            cwd=ROOT,
            env=self.environment(release),
            check=True,
        )

    def start(self, label: str) -> None:
        """Start a worker, named like its release and a number, and wait until it works."""
        release, _, _ = label.partition("-")
        self.workers[label] = Running(
            label,
            self.folder,
            self.environment(release),
            shutdown_timeout=int(app_settings.SHUTDOWN_TIMEOUT),
        )
        wait_until(Worker.objects.filter(label=label, state="running").exists, within=LONG)

    def replace(self, old: str, new: str) -> None:
        """Replace a worker in the middle of a run. The new one starts before the old one stops."""
        self.start(new)
        wait_until(lambda: self.has_run_in_progress(old), within=LONG)
        self.stop(old)

    def stop(self, label: str) -> None:
        """Stop a worker as a service manager does, and wait for its end."""
        worker = self.workers[label]
        worker.process.terminate()
        wait_until(lambda: worker.ended, within=LONG)

    def replace_workers(self) -> None:
        """Replace one worker after the other."""
        for number in range(REPLICAS):
            self.replace(f"old-{number}", f"new-{number}")

    def has_begun(self, task: str, *, by: str) -> bool:
        """Whether each worker of a release has begun a run of a task."""
        lines = journal.lines(self.folder)
        begun = {line.worker for line in lines if line.task == task and line.what == journal.BEGUN}
        return {f"{by}-{number}" for number in range(REPLICAS)} <= begun

    def has_run_in_progress(self, label: str) -> bool:
        """Whether a run of a worker has begun and not ended."""
        lines = [line for line in journal.lines(self.folder) if line.worker == label]
        begun, ended = (
            {line.execution for line in lines if line.what == what}
            for what in (journal.BEGUN, journal.ENDED)
        )
        return begun > ended

    def processes(self) -> list[psutil.Process]:
        """Return what has come from the workers and is still there."""
        return [process for process in psutil.process_iter() if comes_from(process, self.folder)]

    def history(self) -> History:
        """Return what has happened, as the checker takes it."""
        tasks = Task.objects.select_related("state")
        return History(
            tasks={task.name: planned(task) for task in tasks},
            rows=[row_of(execution) for execution in Execution.objects.all()],
            tried=[tried_of(attempt) for attempt in Attempt.objects.order_by("number")],
            counts=dict(TaskState.objects.values_list("task__name", "execution_count")),
            states=dict(Worker.objects.values_list("label", "state")),
            journal=journal.lines(self.folder),
            lives={label: worker.life for label, worker in self.workers.items()},
            left=[f"{process.pid} {name_of(process)}" for process in self.processes()],
        )


@contextmanager
def deployment(folder: Path) -> Iterator[Deployment]:
    """Leave no process behind."""
    now = Deployment(folder)
    try:
        yield now
    finally:
        for worker in now.workers.values():
            worker.process.kill()
            worker.process.wait(LONG)
        for process in now.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()


def planned(task: Task) -> Planned:
    """Return the task with the slots that it should have: each second, from its first one on.

    It has one at ``ends_at`` no more. Where it was removed, its last slot is the last on record.
    """
    slots = Execution.objects.filter(task=task).order_by("slot")
    first, last = slots.first(), slots.last()
    assert first is not None
    assert last is not None
    return Planned(
        name=task.name,
        handler=task.handler,
        executor="process",
        overlap=task.overlap_policy,
        misfire=task.misfire_policy,
        every=1,
        starts_at=first.slot,
        ends_at=task.ends_at or (last.slot_until or last.slot) + SECOND,
    )


def row_of(execution: Execution) -> Row:
    return Row(
        id=execution.pk,
        task=execution.task_name,
        status=execution.status,
        trigger=execution.trigger,
        slot=execution.slot,
        slot_until=execution.slot_until,
        slots=execution.slots,
        attempt=execution.attempt,
        failures=execution.failures,
        losses=execution.losses,
        worker=execution.worker_label,
        exclusive=execution.exclusive,
        cancel_asked=execution.cancel_requested_at is not None,
        category=execution.error_category,
        reason=execution.reason,
        finished_at=execution.finished_at,
    )


def tried_of(attempt: Attempt) -> Tried:
    return Tried(
        execution=attempt.execution_id,
        number=attempt.number,
        outcome=attempt.outcome,
        worker=attempt.worker_label,
        finished_at=attempt.finished_at,
        category=attempt.error_category,
    )
