"""Measures the memory that the processes of a run use themselves, in bytes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from scheduled_tasks.executors.process import operating_system

MEGABYTE = 1 << 20
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
#: Linux reports the peak of a process in kilobytes, macOS in bytes.
UNIT_OF_PEAK = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """The memory of some processes: ``private`` (USS), and ``shared`` proportionally too (PSS).

    A page that a child shares with the fork server becomes private when the child writes to it,
    which is right. But the child's proportional share also grows when its siblings end, which is
    not its doing, so private memory decides. Memory that the processes of one run share with each
    other is only in ``shared``; it counts as soon as that exceeds all memory of the fork server.
    """

    private: int = 0
    shared: int = 0

    def above(self, start: Usage, inherited: int) -> int:
        """Return the increase since ``start``, for a run that has inherited this many bytes."""
        return max(self.private - start.private, self.shared - inherited, 0)


def usage_of(processes: Iterable[int]) -> Usage:
    """Measure some processes. Those that have ended meanwhile count as 0."""
    private = shared = 0
    for pid in processes:
        try:
            info = psutil.Process(pid).memory_full_info()
        except (psutil.Error, OSError):  # it has ended, or too many files are open
            continue
        # Pages that were swapped out are the run's as well, and USS leaves them out.
        private += info.uss + getattr(info, "swap", 0)
        shared += getattr(info, "pss", info.uss) + getattr(info, "swap", 0)
    return Usage(private, shared)


def resident_of(pid: int) -> int:
    """Return the resident memory of a process, 0 if it has ended."""
    if operating_system.LINUX:
        pages = operating_system.text_of(f"/proc/{pid}/statm").split()[1:2]
        return int(pages[0]) * PAGE if pages else 0
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
