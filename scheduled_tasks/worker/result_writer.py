"""What comes out of executors, written: what runs say, then how they ended."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from scheduled_tasks.conf import app_settings
from scheduled_tasks.executors.base import MOST_MESSAGES
from scheduled_tasks.lifecycle.sets import Claim, claim_of
from scheduled_tasks.models import Execution, Worker
from scheduled_tasks.models.sql.transactions import AWAY
from scheduled_tasks.runtime.clock import Clock
from scheduled_tasks.runtime.messages import Sent
from scheduled_tasks.runtime.runs import Ending, Loss, Outcome, Run
from scheduled_tasks.worker.announcements import announce_dropped_end, announce_end

logger = logging.getLogger(__name__)

CLAIM_LOST = "The connection to the database broke when it was claimed."


class Source(Protocol):
    """What an executor, or several, hand over."""

    def messages(self) -> list[Sent]:
        """Return what runs have said since the last call."""

    def finished(self) -> list[Ending]:
        """Return the endings that have come in since the last call."""


class ResultWriter:
    """Writes in batches what runs of one worker say and how they end.

    What cannot be written is kept for the next time: all of it while the database is away, what is
    held up by somebody who has locked the row of an execution, or the state of its task.
    """

    def __init__(self, source: Source, worker: Worker, clock: Clock) -> None:
        self.source = source
        self.worker = worker
        self.clock = clock
        self._said: list[Sent] = []
        self._said_held_up: list[Sent] = []
        self._ended: list[Ending] = []
        self._ended_held_up: list[Ending] = []

    @property
    def unwritten(self) -> bool:
        """Say whether something is kept."""
        return bool(self._said or self._said_held_up or self._ended or self._ended_held_up)

    @property
    def full(self) -> bool:
        """Say whether it keeps so much of what runs say that it fetches nothing more from them."""
        return len(self._said) + len(self._said_held_up) >= MOST_MESSAGES

    def flush(self) -> int:
        """Write everything; return how many executions ended or went back to the queue."""
        if not self.full:
            # The endings are fetched first: what a run says before its end has come in by then.
            self._ended += self.source.finished()
        self.flush_messages()
        written = len(self.write_held_up())
        while endings := self._ended[: app_settings.BATCH_SIZE]:
            written += len(self.write_endings(endings))
            del self._ended[: len(endings)]
        return written

    def flush_messages(self) -> None:
        """Write what runs have said, and nothing of how they ended."""
        if not self.full:
            self._said += self.source.messages()
        self.write_messages()

    def write_messages(self) -> None:
        """Write what runs have said; what others keep from being written stays, in its order."""
        skip = bool(self._said_held_up)
        self._said, self._said_held_up = self._said_held_up + self._said, []
        while messages := self._said[: app_settings.BATCH_SIZE]:
            held_up = self.claims_held_up
            held_up |= self.record([m for m in messages if claim_of(m) not in held_up], skip=skip)
            self._said_held_up += [m for m in messages if claim_of(m) in held_up]
            del self._said[: len(messages)]

    @property
    def claims_held_up(self) -> set[Claim]:
        """Return the claims that have said what cannot be written yet."""
        return {claim_of(sent) for sent in self._said_held_up}

    def write_held_up(self) -> list[Execution]:
        """Try once more to write what others have kept from being written, and wait for nobody."""
        endings = self._ended_held_up[: app_settings.BATCH_SIZE]
        taken = self.write_endings(endings, skip=True) if endings else []
        del self._ended_held_up[: len(endings)]
        return taken

    def give_back_unheld(self, in_hand: Iterable[Run]) -> None:
        """Give back what this worker holds on record, and nobody here knows of.

        That is so when a claim was committed and the answer was lost with the connection.
        """
        known = {(run.execution_id, run.attempt) for run in in_hand}
        known.update(map(claim_of, [*self._ended, *self._ended_held_up]))
        self._ended += [
            Loss(execution_id=number, attempt=attempt, reason=CLAIM_LOST, charged=False)
            for number, attempt in self.claims_on_record() - known
        ]

    def claims_on_record(self) -> set[Claim]:
        """Return what this worker has claimed and not ended."""
        held = Execution.objects.on_record().held_by(str(self.worker.pk))
        return set(held.values_list("pk", "attempt"))

    def record(self, messages: Sequence[Sent], *, skip: bool) -> set[Claim]:
        """Write what runs say, and answer them; return the claims of which it is held up."""
        unwritten = Execution.objects.record(messages, self.worker, skip=skip)
        held_up = {claim for claim, still_held in unwritten.items() if still_held}
        for sent in messages:
            if sent.answer is not None and claim_of(sent) not in held_up:
                sent.answer(claim_of(sent) not in unwritten)
        return held_up

    def write_endings(self, endings: Sequence[Ending], *, skip: bool = False) -> list[Execution]:
        """End executions, and tell the project about it; a bad or locked row stops no other."""
        # What a run has said is written before its end: afterwards nothing more may be.
        held_up = self.claims_held_up
        silent = [ending for ending in endings if claim_of(ending) not in held_up]
        try:
            taken = Execution.objects.end(silent, self.worker, self.clock.now(), skip=skip)
        except AWAY:
            raise
        except Exception as error:  # noqa: BLE001 -- one bad row must not stop the others
            return self.write_split(endings, error)
        self.keep_or_drop(endings, {execution.pk for execution in taken})
        for execution in taken:
            announce_end(execution)
        return taken

    def keep_or_drop(self, endings: Sequence[Ending], written: Collection[int]) -> None:
        """Keep the endings that were held up; drop those of which somebody else has decided."""
        others = [ending for ending in endings if ending.execution_id not in written]
        still_held = self.claims_on_record() if others else set()
        for ending in others:
            if claim_of(ending) in still_held:
                self._ended_held_up.append(ending)
            elif execution := self.ended_before_by(ending):
                announce_end(execution)
            else:
                announce_dropped_end(*claim_of(ending))

    def ended_before_by(self, ending: Ending) -> Execution | None:
        """Return the execution that this very ending has ended, where nobody has heard of it.

        That is so when it was committed and the answer was lost with the connection.
        """
        if not isinstance(ending, Outcome):
            return None
        return (
            Execution.objects.on_record()
            .filter(
                pk=ending.execution_id,
                attempt=ending.attempt,
                worker=str(self.worker.pk),
                status=ending.status,
                started_at=ending.started_at,
                finished_at=ending.finished_at,
            )
            .first()
        )

    def write_split(self, endings: Sequence[Ending], error: Exception) -> list[Execution]:
        """Find the one among them that cannot be written, and write it without its texts."""
        if len(endings) > 1:
            middle = len(endings) // 2
            return [*self.write_endings(endings[:middle]), *self.write_endings(endings[middle:])]
        ending = endings[0]
        if not (isinstance(ending, Outcome) and ending.whole):
            raise error
        logger.error("the end of an execution could not be written whole: %s", error)
        return self.write_endings([ending.without_texts(str(error))])
