"""When a worker runs suspects: apart, more and more of them, and in turn with everything else."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from scheduled_tasks.lifecycle.claiming import Claimed
from scheduled_tasks.lifecycle.recording import Claim, claim_of
from scheduled_tasks.lifecycle.suspecting import (
    MAX_PROBATION_SECONDS,
    MIN_PROBATION_SECONDS,
    Suspects,
)
from scheduled_tasks.models import Execution
from scheduled_tasks.runtime.runs import Run

#: How often a worker looks again at suspects that it may not claim yet.
RECHECK = timedelta(seconds=1)
#: Suspects take turns with everything else once they have had a worker for this long.
MAX_TURN = timedelta(seconds=2 * MIN_PROBATION_SECONDS)
#: After so long without a turn, what waits was lost since then, and one suspect runs alone again.
FORGETS_AFTER = timedelta(seconds=MAX_PROBATION_SECONDS)


class Isolation:
    """The turns of suspects on one worker.

    A turn begins when a suspect is due. The worker claims nothing else until it is empty, at most
    for as long as the probation of the suspect. Then it claims the suspect, and nothing else for as
    long as the probation or the run takes. The next turn is that of two suspects, then of four, and
    of one again once suspects were lost. After MAX_TURN, everything else has the worker for as long
    as the turns took.
    """

    def __init__(self) -> None:
        #: The suspects that keep the worker to themselves, and until when.
        self.suspects: frozenset[Claim] = frozenset()
        self.until: datetime | None = None
        #: When to look again at suspects that are due and were not claimed.
        self.recheck_at: datetime | None = None
        self._together = 1
        self._lost_one = False
        self._turn_began: datetime | None = None
        self._turn_ended: datetime | None = None
        self._awaited: timedelta | None = None
        self._spent = timedelta(0)
        self._rests_until: datetime | None = None

    @property
    def holds_worker(self) -> bool:
        """Whether suspects keep the worker to themselves."""
        return bool(self.suspects)

    @property
    def keeps_places_free(self) -> bool:
        """Whether a suspect waits for the worker to become empty."""
        return self._awaited is not None

    def passed_alone(self, now: datetime, in_hand: Collection[Run]) -> Claim | None:
        """Return the suspect that was on its own, if it still runs at the end of its probation."""
        if self.until is None or now < self.until or len(self.suspects) > 1:
            return None
        return next(iter(self.suspects.intersection(map(claim_of, in_hand))), None)

    def update(self, now: datetime, in_hand: Collection[Run], *, lost: Collection[Claim]) -> None:
        """Give the worker back if the suspects have ended or passed their probation.

        ``lost`` are runs that have been lost since the last call, although the worker is there.
        """
        self._lost_one = self._lost_one or not self.suspects.isdisjoint(lost)
        if self.recheck_at is not None:
            self.recheck_at = now
        if self.until is None:
            return
        if now >= self.until or self.suspects.isdisjoint(map(claim_of, in_hand)):
            self._together = 1 if self._lost_one else 2 * len(self.suspects)
            self.suspects, self.until, self._lost_one = frozenset(), None, False
            self.end_turn(now)

    def together(self, now: datetime) -> int:
        """Return how many suspects may run at the same time."""
        ended = self._turn_ended
        return self._together if ended is not None and now < ended + FORGETS_AFTER else 1

    def suspects_to_claim(self, now: datetime, in_hand: Collection[Run]) -> Suspects:
        """Return what a claim does about suspects now."""
        if self._rests_until is not None and now < self._rests_until:
            return Suspects.LEAVE
        if not in_hand:
            return Suspects.ALONE
        if self._turn_began is None or self._awaited is None:
            return Suspects.AWAIT
        patient = now < self._turn_began + self._awaited
        return Suspects.AWAIT if patient else Suspects.IN_COMPANY

    def follow(self, done: Claimed, now: datetime) -> None:
        """Follow what a claim did about suspects."""
        suspects = [row for row in done.rows if row.is_suspect]
        self.recheck_at = now + RECHECK if done.left else None
        self._awaited = probation_of(done.awaited) if done.awaited else None
        if suspects:
            self.suspects = frozenset((row.pk, row.attempt) for row in suspects)
            self.until = now + probation_of(suspects[0])
        if suspects or done.awaited is not None:
            self._turn_began = self._turn_began or now
        else:
            self.end_turn(now)

    def end_turn(self, now: datetime) -> None:
        """End a turn, and let everything else have the worker after MAX_TURN."""
        if self._turn_began is None:
            return
        self._spent += max(now - self._turn_began, timedelta(0))
        self._turn_began, self._turn_ended, self._awaited = None, now, None
        if self._spent >= MAX_TURN:
            self._rests_until = now + self._spent
            self._spent = timedelta(0)

    def stop_resting(self) -> None:
        """Let suspects have their turn early: nothing else is due."""
        self._rests_until = None


def probation_of(row: Execution) -> timedelta:
    return timedelta(seconds=row.probation_seconds or 0)
