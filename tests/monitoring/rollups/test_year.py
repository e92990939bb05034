"""After a year of random events, the rollups say what the history says."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Rollup, RollupEntry, Task
from scheduled_tasks.monitoring.rollups.figures import rollups
from scheduled_tasks.monitoring.rollups.folding import fold_all
from scheduled_tasks.worker import folding
from tests.monitoring.rollups.recount import recounted
from tests.policies.world import register_handlers
from tests.policies.year import Year

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def handlers(registry: HandlerRegistry, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="scheduled_tasks")
    register_handlers()


@pytest.fixture(autouse=True)
def unfolded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no worker fold: the test does."""
    monkeypatch.setattr(folding, "fold_all", lambda *, is_over: 0)


def by_resolution(resolution: str) -> Iterator[tuple[Task, list[Rollup]]]:
    found = rollups(resolution, using="default")
    for task in Task.objects.all():
        yield task, [rollup for key, rollup in found.items() if key.task_id == task.pk]


@pytest.mark.any_database
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long)])
def test_rollups_equal_a_recount_of_the_history(seed: int) -> None:
    Year(seed, tasks=8, events=60).tell()
    assert RollupEntry.objects.exists()
    for _ in ("before it is folded", "after"):
        for resolution in Rollup.Resolution.values:
            for task, parts in by_resolution(resolution):
                expected = recounted(task.pk)
                assert summed(parts, expected) == expected, (task, resolution)
        fold_all()
    assert not RollupEntry.objects.exists()


def summed(parts: list[Rollup], names: dict[str, object]) -> dict[str, object]:
    """Return the sums of columns, of numbers and of histograms."""
    sums: dict[str, object] = {}
    for name in names:
        values = [getattr(part, name) for part in parts]
        if name in ("retries", "durations"):
            keys = {key for value in values for key in value}
            sums[name] = {key: sum(value.get(key, 0) for value in values) for key in keys}
        else:
            sums[name] = sum(values)
    return sums
