"""What the monkey does and when, all of it drawn from a seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from tests.chaos.plan import LEASE

Victim = TypeVar("Victim")

SHORT, LONG = (0.3, 1.5), (LEASE + 2, LEASE + 6)
#: What is done: how often in a round, and for how many seconds.
DECK: dict[str, tuple[int, tuple[float, float]]] = {
    "kill_worker": (3, SHORT),
    "stop_worker": (2, SHORT),
    "freeze_worker": (2, SHORT),
    "freeze_worker_for_long": (2, LONG),
    "kill_fork_server": (2, SHORT),
    "freeze_fork_server": (2, SHORT),
    "kill_run": (3, SHORT),
    "freeze_run": (2, SHORT),
    "terminate_connection": (2, SHORT),
    "terminate_all_connections": (2, SHORT),
    "restart_database": (1, SHORT),
    "crash_database": (1, SHORT),
    "take_database_away_for_long": (1, LONG),
    "cut_off": (2, SHORT),
    "cut_off_for_long": (1, LONG),
    "drop_connections": (1, SHORT),
}
PAUSES = (0.3, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One thing to do, so many seconds after the one before; ``pick``, from 0 to 1, to whom."""

    what: str
    after: float
    seconds: float
    pick: float

    def choose(self, among: Sequence[Victim]) -> Victim | None:
        """Return one of those that there are, if any."""
        return among[int(self.pick * len(among))] if among else None


def acts(seed: int) -> Iterator[Act]:
    """Yield what follows from a seed, without end; each round has all that can be done.

    What lasts for long is left alone meanwhile: workers give up another one only when they have
    watched it for a whole lease without a break.
    """
    rng = Random(seed)
    calm = 0.0
    while True:
        deck = [what for what, (times, _) in DECK.items() for _ in range(times)]
        rng.shuffle(deck)
        for what in deck:
            seconds = rng.uniform(*DECK[what][1])
            yield Act(
                what=what,
                after=calm + rng.uniform(*PAUSES),
                seconds=seconds,
                pick=rng.random(),
            )
            calm = seconds if what.endswith("_for_long") else 0.0
