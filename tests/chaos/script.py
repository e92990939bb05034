"""What the monkey does and when, all of it drawn from a seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from tests.chaos.plan import LEASE

Victim = TypeVar("Victim")

SHORT, LONG = (0.3, 1.5), (LEASE + 2, LEASE + 4)
FOR_LONG = "_for_long"
#: What is done: how often in a round, and for how many seconds.
DECK: dict[str, tuple[int, tuple[float, float]]] = {
    "kill_worker": (3, SHORT),
    "stop_worker": (2, SHORT),
    "freeze_worker": (2, SHORT),
    "freeze_worker_for_long": (2, LONG),
    "kill_fork_server": (2, SHORT),
    "freeze_fork_server": (2, SHORT),
    "freeze_fork_server_for_long": (1, LONG),
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
    "run_now": (3, SHORT),
    "cancel": (3, SHORT),
    "requeue": (2, SHORT),
    "pause": (1, (1.0, 2.0)),
}
PAUSES = (0.3, 1.3)
#: No round takes longer, in seconds, so that within them all has been done that can be.
MAX_ROUND_SECONDS = sum(
    times * (PAUSES[1] + (longest if longest == LONG[1] else 0))
    for times, (_, longest) in DECK.values()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One thing to do, so many seconds after the beginning; ``pick``, from 0 to 1, to whom."""

    what: str
    at: float
    seconds: float
    pick: float

    @property
    def rest(self) -> float:
        """Return how many seconds everybody is left alone after it.

        Workers give up another one only when they have watched it for a whole lease without a
        break.
        """
        return self.seconds if self.what.endswith(FOR_LONG) else 0.0

    def choose(self, among: Sequence[Victim]) -> Victim | None:
        """Return one of those that there are, if any."""
        return among[int(self.pick * len(among))] if among else None


def acts(seed: int) -> Iterator[Act]:
    """Yield what follows from a seed, without end; each round has all that can be done."""
    rng = Random(seed)
    moment = 0.0
    while True:
        deck = [what for what, (times, _) in DECK.items() for _ in range(times)]
        rng.shuffle(deck)
        for what in deck:
            moment += rng.uniform(*PAUSES)
            seconds = rng.uniform(*DECK[what][1])
            act = Act(what=what, at=moment, seconds=seconds, pick=rng.random())
            yield act
            moment += act.rest
