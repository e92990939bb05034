"""What a suite is made of: cases, each measured some times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.contestants.base import Contestant

#: What one measuring of a case found: each figure by its name, with its unit.
Figures = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured: ``size`` is what the suite says it is, ``seconds`` a time to watch."""

    size: int
    seconds: float
    peers: list[Contestant] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of a table. ``labels`` tell it from the others; ``measure`` measures it once."""

    labels: dict[str, str]
    measure: Callable[[], Figures]
