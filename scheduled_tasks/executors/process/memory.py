"""How much memory the processes of a run use themselves, in bytes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from scheduled_tasks.executors.process import operating_system

MEGABYTE = 1 << 20
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
#: The kernel counts the peak of a process in kilobytes, that of macOS in bytes.
UNIT_OF_PEAK = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """What some processes use: ``private`` to each of them, and ``shared`` in fair parts too.

    Pages that a child shares with the fork server become private when it writes to them, which
    is right; but its fair part of them grows when its neighbours end, through no doing of its own.
    So what is private decides. Memory that the processes of one run share with each other is in
    the fair parts only, and counts where these grow beyond all that the fork server has.
    """

    private: int = 0
    shared: int = 0

    def above(self, start: Usage, inherited: int) -> int:
        """Return how much more it is than at the start, of a run that inherited so much."""
        return max(self.private - start.private, self.shared - inherited, 0)


def usage_of(processes: Iterable[int]) -> Usage:
    """Measure some processes; those that have gone meanwhile use nothing."""
    private = shared = 0
    for pid in processes:
        try:
            info = psutil.Process(pid).memory_full_info()
        except psutil.Error:
            continue
        private += info.uss + getattr(info, "swap", 0)
        shared += getattr(info, "pss", info.uss) + getattr(info, "swap", 0)
    return Usage(private, shared)


def resident_of(pid: int) -> int:
    """Return the resident memory of a process, 0 if it is gone."""
    if operating_system.LINUX:
        pages = operating_system.text_of(f"/proc/{pid}/statm").split()[1:2]
        return int(pages[0]) * PAGE if pages else 0
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
