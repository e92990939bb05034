"""Writes what executors deliver: messages of runs, then their endings."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

from django.db import ProgrammingError

from scheduled_tasks.conf import app_settings
from scheduled_tasks.executors.base import MAX_UNWRITTEN_MESSAGES
from scheduled_tasks.lifecycle import aftermath, recording
from scheduled_tasks.lifecycle.ending import end
from scheduled_tasks.lifecycle.recording import Claim, claim_of
from scheduled_tasks.models import Execution, Worker
from scheduled_tasks.models.sql.transactions import AWAY, write_alias
from scheduled_tasks.runtime.clock import Clock
from scheduled_tasks.runtime.messages import Envelope
from scheduled_tasks.runtime.runs import Ending, Loss, Outcome, Run
from scheduled_tasks.runtime.sanitizing import redacted_text
from scheduled_tasks.worker.announcements import announce_dropped_end, announce_end

logger = logging.getLogger(__name__)

CLAIM_LOST = "The connection to the database broke while it was claimed."


class Source(Protocol):
    """An executor, or several."""

    def messages(self) -> list[Envelope]:
        """Return the messages of runs since the last call."""

    def finished(self) -> list[Ending]:
        """Return the endings since the last call."""


class ResultWriter:
    """Writes messages and endings of the runs of one worker, in batches.

    What cannot be written is kept for the next call: everything while the database is away, and
    what concerns rows that another transaction has locked (an execution, the state of its task).
    The messages of a run stay in order and are written before its ending.
    """

    def __init__(self, source: Source, worker: Worker, clock: Clock) -> None:
        self.source = source
        self.worker = worker
        self.clock = clock
        self._messages: list[Envelope] = []
        self._messages_held_up: list[Envelope] = []
        self._endings: list[Ending] = []
        self._endings_held_up: list[Ending] = []
        #: Endings that are committed and announced, but may come again: the database went away
        #: before it was known what to do with others of their batch.
        self._announced: set[Claim] = set()
        #: Endings that the database refuses, and of which the log says so.
        self._unwritable: set[Claim] = set()
        self._lost: set[Claim] = set()

    @property
    def unwritten(self) -> bool:
        """Whether anything is waiting to be written."""
        return bool(
            self._messages or self._messages_held_up or self._endings or self._endings_held_up
        )

    @property
    def full(self) -> bool:
        """Whether it keeps the maximum number of messages, and fetches no more."""
        return len(self._messages) + len(self._messages_held_up) >= MAX_UNWRITTEN_MESSAGES

    def flush(self) -> int:
        """Write everything; return the count of executions that ended or were queued again."""
        if not self.full:
            # Endings are fetched first: then the messages sent before them are there as well.
            finished = self.source.finished()
            self._endings += finished
            self._lost.update(map(claim_of, filter(is_charged, finished)))
        self.flush_messages()
        written = len(self.write_endings_held_up())
        while endings := self._endings[: app_settings.BATCH_SIZE]:
            written += len(self.write_endings(endings))
            # Only now: if the database goes away, they are written by the next call.
            del self._endings[: len(endings)]
        self._announced.clear()
        return written

    def take_lost(self) -> set[Claim]:
        """Return the runs that were lost, as with their fork server, since this was last called."""
        lost, self._lost = self._lost, set()
        return lost

    def flush_messages(self) -> None:
        """Write messages, and no endings."""
        if not self.full:
            self._messages += self.source.messages()
        self.write_messages()

    def write_messages(self) -> None:
        """Write the messages in order; keep those of locked executions."""
        skip = bool(self._messages_held_up)
        self._messages, self._messages_held_up = self._messages_held_up + self._messages, []
        while messages := self._messages[: app_settings.BATCH_SIZE]:
            held_up = self.claims_held_up
            held_up |= self.record([m for m in messages if claim_of(m) not in held_up], skip=skip)
            self._messages_held_up += [m for m in messages if claim_of(m) in held_up]
            # Only now, as in ``flush``.
            del self._messages[: len(messages)]

    @property
    def claims_held_up(self) -> set[Claim]:
        """The claims with messages that cannot be written yet."""
        return {claim_of(sent) for sent in self._messages_held_up}

    def write_endings_held_up(self) -> list[Execution]:
        """Try again to write endings of locked executions, without waiting for locks."""
        endings = self._endings_held_up[: app_settings.BATCH_SIZE]
        ended = self.write_endings(endings, skip=True) if endings else []
        del self._endings_held_up[: len(endings)]
        return ended

    def give_back_unheld(self, in_hand: Iterable[Run]) -> None:
        """Give back executions that this worker holds on record but not in its executor.

        This happens when a claim was committed and the answer was lost with the connection.
        """
        known = {(run.execution_id, run.attempt) for run in in_hand}
        known.update(map(claim_of, [*self._endings, *self._endings_held_up]))
        self._endings += [
            Loss(execution_id=number, attempt=attempt, reason=CLAIM_LOST, charged=False)
            for number, attempt in self.claims_in_database() - known
        ]

    def claims_in_database(self) -> set[Claim]:
        """Return what this worker has claimed and not ended, as the database knows it."""
        held = Execution.objects.on_primary().held_by(str(self.worker.pk))
        return set(held.values_list("pk", "attempt"))

    def record(self, messages: Sequence[Envelope], *, skip: bool) -> set[Claim]:
        """Write messages and answer those that wait; return the claims that are locked."""
        unwritten = recording.record(messages, self.worker, skip=skip)
        held_up = {claim for claim, still_held in unwritten.items() if still_held}
        for sent in messages:
            if sent.answer is not None and claim_of(sent) not in held_up:
                sent.answer(claim_of(sent) not in unwritten)
        return held_up

    def write_endings(self, endings: Sequence[Ending], *, skip: bool = False) -> list[Execution]:
        """End executions and announce it; a bad or locked row does not stop the others."""
        # Messages go first: after its end nothing more may be written to an execution.
        held_up = self.claims_held_up
        ready = [ending for ending in endings if claim_of(ending) not in held_up]
        try:
            ended = end(ready, self.worker, self.clock.now(), skip=skip)
        except AWAY:
            raise
        except Exception as error:  # noqa: BLE001 -- one bad row must not stop the others
            return self.write_split(endings, error)
        for execution in ended:
            announce_end(execution)
            self._announced.add((execution.pk, execution.attempt))
        self.keep_or_drop(endings)
        return ended

    def keep_or_drop(self, endings: Sequence[Ending]) -> None:
        """Keep the endings of locked executions; drop those that another worker has decided."""
        others = [ending for ending in endings if claim_of(ending) not in self._announced]
        still_held = self.claims_in_database() if others else set()
        held_up = [ending for ending in others if claim_of(ending) in still_held]
        decided = [ending for ending in others if claim_of(ending) not in still_held]
        ended_before = {claim_of(ending): self.ended_before_by(ending) for ending in decided}
        # From here on no query may fail: what is kept or announced must not come again.
        self._endings_held_up += held_up
        for claim, execution in ended_before.items():
            if execution is None:
                announce_dropped_end(*claim)
                continue
            announce_end(execution)
            aftermath.ended_before([execution.pk], using=write_alias())
            self._announced.add(claim)

    def ended_before_by(self, ending: Ending) -> Execution | None:
        """Return the execution if this very ending is on record, not announced.

        This happens when it was committed and the answer was lost with the connection.
        """
        mine = Execution.objects.on_primary().filter(
            pk=ending.execution_id, attempt=ending.attempt, worker=str(self.worker.pk)
        )
        if isinstance(ending, Loss):
            return mine.finished().filter(error=ending.reason).first()
        return mine.filter(
            status=ending.status, started_at=ending.started_at, finished_at=ending.finished_at
        ).first()

    def write_split(self, endings: Sequence[Ending], error: Exception) -> list[Execution]:
        """Find the ending that cannot be written, and write it without its texts."""
        if len(endings) > 1:
            middle = len(endings) // 2
            return [*self.write_endings(endings[:middle]), *self.write_endings(endings[middle:])]
        ending = endings[0]
        if isinstance(ending, Outcome) and ending.complete:
            logger.error("the end of an execution could not be written in full: %s", error)
            return self.write_endings([ending.without_texts(redacted_text(str(error)))])
        # Not a fault of this row: the tables are not as the models say.
        if isinstance(error, ProgrammingError):
            raise error
        self.keep_unwritable(ending, error)
        return []

    def keep_unwritable(self, ending: Ending, error: Exception) -> None:
        """Keep an ending that the database refuses: no row may end the loop, or be forgotten."""
        self._endings_held_up.append(ending)
        claim = claim_of(ending)
        if claim not in self._unwritable:
            self._unwritable.add(claim)
            logger.error(
                "the end of execution=%s attempt=%s cannot be written, trying again: %s",
                *claim,
                error,
                exc_info=error,
            )


def is_charged(ending: Ending) -> bool:
    """Whether a run was lost without being asked to stop, so that it may have been the cause."""
    return isinstance(ending, Loss) and ending.charged
