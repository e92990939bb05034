"""Kills runs that exceed their memory limit. Memory is measured ten times a second."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from scheduled_tasks.executors.process import operating_system
from scheduled_tasks.executors.process.fork_server.child_handle import ChildHandle
from scheduled_tasks.executors.process.fork_server.timeouts import stop_run
from scheduled_tasks.executors.process.memory import MEGABYTE, resident_of

CHECK_SECONDS = 0.1


class MemoryLimits:
    """The memory limits of the runs of these children, on systems that can enforce them."""

    def __init__(self, children: Mapping[int, ChildHandle]) -> None:
        self.children = children
        self.next_check = 0.0
        self._inherited = resident_of(os.getpid())

    def enforce(self, now: float) -> None:
        """Kill the runs above their limit, if the next check is due."""
        if now < self.next_check:
            return
        self.next_check = now + CHECK_SECONDS
        for child, limit in self.limited():
            if child.measure(self._inherited) > limit * MEGABYTE:
                stop_run(child, "memory", grace=0)

    def limited(self) -> list[tuple[ChildHandle, int]]:
        """Return the children whose runs have begun and have a limit, each with its limit in MB."""
        if not operating_system.LISTS_PROCESSES:
            return []
        begun = (child for child in self.children.values() if child.begun and child.running)
        return [(child, child.memory_limit) for child in begun if child.memory_limit]

    def due(self) -> Iterator[float]:
        """Yield the moment of the monotonic clock at which memory is measured next, if it is."""
        if self.limited():
            yield self.next_check
