"""Thousands of runs, one after the other: what is left of them is nothing.

The long form::

    ENDURANCE_RUNS=10000 python -m pytest tests/executors/test_process_endurance.py
"""

from __future__ import annotations

import gc
from collections import deque

import psutil
import pytest

from scheduled_tasks.executors.process import operating_system
from tests.executors.conftest import TakeInHand
from tests.executors.processes_in_hand import Hand
from tests.support.lengths import only_long

CONCURRENCY = 4
#: Memory grows by jumps of this many bytes, whatever the number of runs, and by so many a run.
JUMP, MAX_BYTES_PER_RUN = 1 << 20, 400


def make_runs(hand: Hand, number: int) -> None:
    """Keep all places busy until so many runs have succeeded."""
    to_start = deque(range(number))

    def keep_busy() -> bool:
        while to_start and hand.executor.free:
            to_start.popleft()
            hand.start("answer", value=1)
        return not to_start and not hand.executor.in_hand

    hand.wait(keep_busy, within=600)
    assert len(hand.endings) == number
    assert all(getattr(ending, "result", None) == 1 for ending in hand.endings.values())
    hand.endings.clear()
    hand.said.clear()
    gc.collect()


@pytest.mark.parametrize("runs", only_long("ENDURANCE_RUNS", long=3000))
def test_runs_leak_no_process_descriptor_or_memory(take_in_hand: TakeInHand, runs: int) -> None:
    hand = take_in_hand(CONCURRENCY)
    server, worker = hand.server, psutil.Process()

    def settled() -> bool:
        return len(operating_system.children_of(server.pid)) == CONCURRENCY == len(hand.spares())

    make_runs(hand, min(runs, 500))
    hand.wait(settled)
    descriptors = worker.num_fds(), server.num_fds()
    memory = worker.memory_info().rss, server.memory_info().rss
    make_runs(hand, runs)
    hand.wait(settled)
    assert (worker.num_fds(), server.num_fds()) == descriptors
    for process, before in zip((worker, server), memory, strict=True):
        assert process.memory_info().rss - before < JUMP + runs * MAX_BYTES_PER_RUN
    assert hand.server == server
