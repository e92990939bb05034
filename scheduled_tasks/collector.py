"""What comes out of executors, written: what runs say, then how they ended."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

from django.db import InterfaceError, OperationalError

from scheduled_tasks.announcements import announce_end, announce_taken
from scheduled_tasks.clock import Clock
from scheduled_tasks.conf import app_settings
from scheduled_tasks.messages import Sent
from scheduled_tasks.models import Execution, Worker
from scheduled_tasks.runs import Ending, Loss, Outcome, Run

logger = logging.getLogger(__name__)

CLAIM_LOST = "The connection to the database broke when it was claimed."


class Source(Protocol):
    """What an executor, or several, hand over."""

    def messages(self) -> list[Sent]:
        """Return what runs have said since the last call."""

    def finished(self) -> list[Ending]:
        """Return the endings that have come in since the last call."""


class Collector:
    """Writes in batches what runs of one worker say and how they end.

    What cannot be written, because the database is away, is kept for the next time.
    """

    def __init__(self, source: Source, worker: Worker, clock: Clock) -> None:
        self.source = source
        self.worker = worker
        self.clock = clock
        self._said: list[Sent] = []
        self._ended: list[Ending] = []

    @property
    def unwritten(self) -> bool:
        """Say whether something is kept."""
        return bool(self._said or self._ended)

    def collect(self) -> int:
        """Write everything; return how many executions ended or went back to the queue."""
        # The endings are fetched first: what a run says before its end has come in by then.
        self._ended += self.source.finished()
        self._said += self.source.messages()
        while messages := self._said[: app_settings.BATCH_SIZE]:
            self.record(messages)
            del self._said[: len(messages)]
        written = 0
        while endings := self._ended[: app_settings.BATCH_SIZE]:
            written += len(self.write(endings))
            del self._ended[: len(endings)]
        return written

    def give_back_unheld(self, in_hand: Iterable[Run]) -> None:
        """Give back what this worker holds on record, and nobody here knows of.

        That is so when a claim was committed and the answer was lost with the connection.
        """
        known = {(run.execution_id, run.attempt) for run in in_hand}
        known.update((ending.execution_id, ending.attempt) for ending in self._ended)
        rows = Execution.objects.all()
        held = rows.using(rows.write_alias).held_by(str(self.worker.pk))
        self._ended += [
            Loss(execution_id=number, attempt=attempt, reason=CLAIM_LOST, charged=False)
            for number, attempt in held.values_list("pk", "attempt")
            if (number, attempt) not in known
        ]

    def record(self, messages: Sequence[Sent]) -> None:
        """Write what runs say, and answer them."""
        refused = Execution.objects.record(messages, self.worker)
        for sent in messages:
            if sent.answer is not None:
                sent.answer((sent.execution_id, sent.attempt) not in refused)

    def write(self, endings: Sequence[Ending]) -> list[Execution]:
        """End executions, and tell the project about it; a bad row stops no other."""
        try:
            taken = Execution.objects.end(endings, self.worker, self.clock.now())
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:  # noqa: BLE001 -- one bad row must not stop the others
            return self.write_apart(endings, error)
        kept = {execution.pk for execution in taken}
        for ending in endings:
            if ending.execution_id not in kept:
                announce_taken(ending.execution_id, ending.attempt)
        for execution in taken:
            announce_end(execution)
        return taken

    def write_apart(self, endings: Sequence[Ending], error: Exception) -> list[Execution]:
        """Find the one among them that cannot be written, and write it without its texts."""
        if len(endings) > 1:
            middle = len(endings) // 2
            return [*self.write(endings[:middle]), *self.write(endings[middle:])]
        ending = endings[0]
        if not (isinstance(ending, Outcome) and ending.whole):
            raise error
        logger.error("the end of an execution could not be written whole: %s", error)
        return self.write([ending.without_texts(str(error))])
