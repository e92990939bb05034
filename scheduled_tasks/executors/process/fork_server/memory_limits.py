"""Finds the runs that exceed their memory limit, ten times a second."""

from __future__ import annotations

import os
from collections.abc import Mapping

from scheduled_tasks.executors.process import operating_system
from scheduled_tasks.executors.process.fork_server.child_handle import ChildHandle
from scheduled_tasks.executors.process.memory import MEGABYTE, resident_of

MEMORY_CHECK_SECONDS = 0.1


class MemoryLimits:
    """Measures the runs that have a limit."""

    def __init__(self, children: Mapping[int, ChildHandle]) -> None:
        self.children = children
        self.next_check = 0.0
        self._inherited = resident_of(os.getpid())

    def limited(self) -> list[ChildHandle]:
        """Return the children whose runs have a limit, on systems that can enforce it."""
        if not operating_system.LINUX:
            return []
        return [child for child in self.children.values() if child.running and child.memory_limit]

    def exceeded(self, now: float) -> list[ChildHandle]:
        """Return the children above their limit; none before the next check is due."""
        if now < self.next_check:
            return []
        self.next_check = now + MEMORY_CHECK_SECONDS
        return [
            child
            for child in self.limited()
            if (limit := child.memory_limit) and child.measure(self._inherited) > limit * MEGABYTE
        ]
