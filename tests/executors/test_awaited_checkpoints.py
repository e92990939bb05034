"""Checkpoints that an async handler awaits, on each executor: the event loop goes on meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scheduled_tasks.executors.endings import LEASE_LOST
from scheduled_tasks.runtime.messages import Checkpoint
from scheduled_tasks.runtime.runs import Outcome
from tests.executors.in_hand import InHand, is_cancelled
from tests.jobs.steps import await_checkpoint
from tests.support.processes import LONG, wait_until


@dataclass
class Awaiting:
    """A run that awaits its checkpoint."""

    worker: InHand[Any]
    path: Path

    def begin(self, timeout: float | None = None) -> None:
        """Begin it, and wait until its checkpoint has come to the worker."""
        if hasattr(self.worker, "pids"):
            self.worker.start("await_checkpoint", path=str(self.path), timeout=timeout)
        else:
            payload = {"path": str(self.path)}
            self.worker.start(await_checkpoint, timeout=timeout, payload=payload)
        self.worker.wait_uncollected(self.worker.executor._messages)

    def outcome(self) -> Outcome:
        """Wait for its end."""
        self.worker.wait(lambda: self.worker.endings)
        [ending] = self.worker.endings.values()
        assert isinstance(ending, Outcome)
        return ending

    @property
    def said(self) -> list[str]:
        """Return what has become of it."""
        return self.path.read_text().split()


@pytest.fixture(params=["hand", "holder"])
def awaiting(request: pytest.FixtureRequest, tmp_path: Path) -> Awaiting:
    """Return a run in a process, and one in a thread."""
    return Awaiting(request.getfixturevalue(request.param), tmp_path / "said")


def test_it_is_written_when_it_has_been_awaited(awaiting: Awaiting, tmp_path: Path) -> None:
    awaiting.begin()
    wait_until((tmp_path / "said.beside").exists, within=LONG)
    assert awaiting.said == ["asked"]
    assert awaiting.outcome().result == {"page": 3}
    assert awaiting.said == ["asked", "written"]
    assert list(awaiting.worker.said.values()) == [[Checkpoint(value={"page": 3})]]


def test_one_that_is_refused_ends_the_run(awaiting: Awaiting) -> None:
    awaiting.worker.accepts = lambda sent: False
    awaiting.begin()
    outcome = awaiting.outcome()
    assert (outcome.error_category, outcome.error) == ("lost", LEASE_LOST)
    assert awaiting.said[1] in {"LeaseLost", "CancelledError"}


def test_a_timeout_interrupts_the_wait(awaiting: Awaiting) -> None:
    awaiting.begin(timeout=0.5)
    # A worker whose database is away answers nothing.
    awaiting.worker.wait_uncollected(awaiting.worker.executor._endings)
    assert awaiting.outcome().error == "Timed out after 0.5 s."
    assert awaiting.said == ["asked", "CancelledError"]


def test_cancelling_interrupts_the_wait(awaiting: Awaiting) -> None:
    awaiting.begin()
    awaiting.worker.cancel()
    awaiting.worker.wait_uncollected(awaiting.worker.executor._endings)
    assert is_cancelled(awaiting.outcome())
    assert awaiting.said == ["asked", "CancelledError"]
