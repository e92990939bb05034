"""When a worker runs suspects: alone, one at a time, and in turn with everything else."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from scheduled_tasks.lifecycle.claiming import Claimed
from scheduled_tasks.lifecycle.recording import Claim, claim_of
from scheduled_tasks.lifecycle.suspecting import MIN_PROBATION_SECONDS, Suspects
from scheduled_tasks.models import Execution
from scheduled_tasks.runtime.runs import Run

#: How often a worker looks again at suspects that it may not claim yet.
RECHECK = timedelta(seconds=1)
#: Suspects take turns with everything else once they have had a worker for this long.
MAX_TURN = timedelta(seconds=2 * MIN_PROBATION_SECONDS)


class Isolation:
    """The turns of suspects on one worker.

    A turn begins when a suspect is due. The worker claims nothing else until it is empty, at most
    for as long as the probation of the suspect. Then it claims the suspect, and nothing else for as
    long as the probation or the run takes. After MAX_TURN, everything else has the worker for as
    long as the turns took.
    """

    def __init__(self) -> None:
        #: The suspect that keeps the worker to itself, and until when.
        self.suspect: Claim | None = None
        self.until: datetime | None = None
        #: When to look again at suspects that are due and were not claimed.
        self.recheck_at: datetime | None = None
        self._turn_began: datetime | None = None
        self._awaited: timedelta | None = None
        self._spent = timedelta(0)
        self._rests_until: datetime | None = None

    @property
    def holds_worker(self) -> bool:
        """Whether a suspect keeps the worker to itself."""
        return self.suspect is not None

    @property
    def keeps_places_free(self) -> bool:
        """Whether a suspect waits for the worker to become empty."""
        return self._awaited is not None

    def has_passed(self, now: datetime, in_hand: Collection[Run]) -> bool:
        """Whether the suspect is still running at the end of its probation."""
        return self.until is not None and now >= self.until and self.runs_on(in_hand)

    def runs_on(self, in_hand: Collection[Run]) -> bool:
        return any(claim_of(run) == self.suspect for run in in_hand)

    def update(self, now: datetime, in_hand: Collection[Run]) -> None:
        """Give the worker back if the suspect has ended or passed its probation."""
        if self.recheck_at is not None:
            self.recheck_at = now
        if self.until is not None and (now >= self.until or not self.runs_on(in_hand)):
            self.suspect = self.until = None
            self.end_turn(now)

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
        suspect = next((row for row in done.rows if row.is_suspect), None)
        self.recheck_at = now + RECHECK if done.left else None
        self._awaited = probation_of(done.awaited) if done.awaited else None
        if suspect is not None:
            self.suspect = suspect.pk, suspect.attempt
            self.until = now + probation_of(suspect)
        if suspect is not None or done.awaited is not None:
            self._turn_began = self._turn_began or now
        else:
            self.end_turn(now)

    def end_turn(self, now: datetime) -> None:
        """End a turn, and let everything else have the worker after MAX_TURN."""
        if self._turn_began is None:
            return
        self._spent += max(now - self._turn_began, timedelta(0))
        self._turn_began = self._awaited = None
        if self._spent >= MAX_TURN:
            self._rests_until = now + self._spent
            self._spent = timedelta(0)

    def stop_resting(self) -> None:
        """Let suspects have their turn early: nothing else is due."""
        self._rests_until = None


def probation_of(row: Execution) -> timedelta:
    return timedelta(seconds=row.probation_seconds or 0)
