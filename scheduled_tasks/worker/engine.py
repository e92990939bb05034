"""The engine of one worker: each tick beats, ends, keeps house, fires, claims and runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from scheduled_tasks.conf import app_settings
from scheduled_tasks.executors.base import NEVER, Executor
from scheduled_tasks.executors.dispatch import Dispatcher
from scheduled_tasks.handlers.registry import registry
from scheduled_tasks.lifecycle.capacity import Places
from scheduled_tasks.models import Execution, Worker
from scheduled_tasks.runtime.clock import Clock
from scheduled_tasks.runtime.runs import Run
from scheduled_tasks.worker.announcements import announce_start
from scheduled_tasks.worker.heartbeat import Heartbeat
from scheduled_tasks.worker.maintenance import Maintenance
from scheduled_tasks.worker.result_writer import ResultWriter
from scheduled_tasks.worker.waiter import Waiter
from scheduled_tasks.worker.watchdog import Watchdog

logger = logging.getLogger(__name__)

NO_LEAD = timedelta(0)


class WorkerLostError(RuntimeError):
    """Others may run this worker's executions by now, so it must end."""


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick did, in numbers: executions that ended, slots decided, executions claimed."""

    ended: int = 0
    fired: int = 0
    claimed: int = 0

    @property
    def idle(self) -> bool:
        """Say whether there was nothing to do."""
        return not (self.ended or self.fired or self.claimed)


@dataclass(frozen=True, slots=True)
class NextWork:
    """When the next slot comes, and when the next execution may be claimed; None for never."""

    slot: datetime | None = None
    run: datetime | None = None

    def slot_due(self, now: datetime) -> bool:
        """Say whether the slot has come."""
        return self.slot is not None and self.slot <= now

    def run_due(self, now: datetime) -> bool:
        """Say whether the execution may be claimed."""
        return self.run is not None and self.run <= now


class Engine:
    """One worker, for as long as somebody calls ``tick``.

    Any number of workers may share a database. Each fires the slots of all tasks, and claims the
    executions of the handlers that it knows; ``queues`` limits that (none given: every queue).
    What is not given comes from the settings.
    """

    def __init__(
        self,
        *,
        concurrency: int | None = None,
        queues: Iterable[str] = (),
        worker_name: str = "",
        executor: type[Executor] | None = None,
        syncs: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Clock | None = None,
    ) -> None:
        self.queues = list(queues)
        self.clock = clock or Clock()
        self.waiter = Waiter()
        self.worker = Worker.of_this_process(label=worker_name)
        self.worker.queues = self.queues
        self.worker.concurrency = concurrency or app_settings.CONCURRENCY
        self.executor = Dispatcher(
            executor or app_settings.EXECUTOR,
            concurrency=self.worker.concurrency,
            clock=self.clock.now,
            on_finished=self.waiter.wake,
            on_message=self.waiter.recheck,
        )
        self.result_writer = ResultWriter(self.executor, self.worker, self.clock)
        self.watchdog = Watchdog()
        self.heartbeat = Heartbeat(
            self.worker,
            self.clock,
            on_beat=self.on_beat,
            on_lost=self.waiter.wake,
            watching=self.watchdog.watching,
        )
        self.maintenance = Maintenance(self.worker, syncs=syncs, monotonic=monotonic)
        #: What the last look lead saw; None once something was done about it.
        self.next_work: NextWork | None = None
        #: Whether the last claim left what was due for other reasons than a lack of places.
        self._rest_is_held_back = False
        #: Whether the database has answered since its connection was lost.
        self.database_answers = True
        self._connection_was_lost = False

    def start(self, now: datetime | None = None) -> None:
        """Announce this worker and write what code declares; ``tick`` does it where it was not."""
        self.executor.open()
        self.worker.handlers = sorted(registry.handlers)
        self.worker.declaration_digest = registry.digest
        if now is not None:
            self.worker.started_at = self.worker.heartbeat_at = now
        self.worker.save()
        self.heartbeat.beat(now)
        self.maintenance.start(now or self.clock.now())
        logger.info(
            "worker started label=%s handlers=%s concurrency=%s queues=%s",
            self.worker.label,
            len(self.worker.handlers),
            self.worker.concurrency,
            ",".join(self.queues) or "all",
        )

    def tick(self, now: datetime, *, lead: timedelta = NO_LEAD) -> Tick:
        """Do all that is due at ``now``, once, and return what was done.

        A slot that comes within ``lead`` is decided before, in a transaction that is committed
        when the slot has come.
        """
        if self.worker._state.adding:  # noqa: SLF001 -- Django's own mark of an unsaved row
            self.start(now)
        elif not self.heartbeat.running:
            self.heartbeat.beat(now)
        elif self.heartbeat.stale:
            self.heartbeat.beat()
        if self.heartbeat.lost:
            raise WorkerLostError("This worker was given up as lost; it must not go on.")
        self.executor.check()
        ended = self.write_results()
        self.maintenance.run_due(now)
        self.forward_cancellations()
        fired, claimed = self.fire_and_claim_due(now, lead)
        return Tick(ended + self.write_results(), fired, claimed)

    def fire_and_claim_due(self, now: datetime, lead: timedelta = NO_LEAD) -> tuple[int, int]:
        """Fire and claim what has come; return how many slots were decided, executions claimed.

        A slot is claimed as it is fired if nothing waits that might have to run before it.
        """
        known = self.next_work
        next_work = known if known and known.slot_due(now + lead) else self.find_next_work(now)
        fired = claimed = 0
        if next_work.slot is not None and next_work.slot_due(now + lead):
            wait = partial(self.clock.wait, next_work.slot, lead) if next_work.slot > now else None
            now = max(now, next_work.slot)
            fired, claimed = self.fire(now, before_commit=wait)
            next_work = self.find_next_work(now)
        waits = next_work.run_due(now)
        if waits:
            claimed += self.claim(now)
        self.next_work = None if waits else next_work
        return fired, claimed

    def find_next_work(self, now: datetime) -> NextWork:
        """Return what comes next, as the database knows it now."""
        places = self.places
        slot, run = Execution.objects.coming(**places.serves)
        if not places.count:
            return NextWork(slot)
        return NextWork(slot, Execution.objects.past_held_back(run, now, places))

    @property
    def places(self) -> Places:
        """Return the free places of the executor, as the database is asked about them."""
        free = self.executor.free if self.accepts_runs else 0
        return Places(self.worker, free, self.worker.handlers, self.queues, self._rest_is_held_back)

    @property
    def accepts_runs(self) -> bool:
        """Say whether there is a free place for an execution, and somebody to hear it."""
        return self.executor.free > 0 and not self.executor.stuck and not self.result_writer.full

    def fire(
        self, now: datetime, *, before_commit: Callable[[], None] | None = None
    ) -> tuple[int, int]:
        """Fire what is due, and claim it for free places; return how many of each."""
        fired, claimed = Execution.objects.fire_and_claim(
            self.places if self.accepts_runs else None,
            now,
            limit=app_settings.BATCH_SIZE,
            before_commit=before_commit,
        )
        self.start_all(claimed)
        return fired, len(claimed)

    def claim(self, now: datetime) -> int:
        """Claim as many executions as there are free places and start them; return how many."""
        if not self.accepts_runs:
            return 0
        claimed = Execution.objects.claim(
            self.worker,
            now,
            limit=min(self.executor.free, app_settings.BATCH_SIZE),
            handlers=self.worker.handlers,
            queues=self.queues,
        )
        self.start_all(execution.as_run() for execution in claimed)
        self._rest_is_held_back = self.accepts_runs
        return len(claimed)

    def start_all(self, claimed: Iterable[Run]) -> None:
        """Hand what was claimed to the executor."""
        for run in claimed:
            announce_start(run)
            self.executor.submit(run)
        time.sleep(0)  # so that threads which were given runs begin before this one goes on

    @property
    def messages_due(self) -> float:
        """Return when, by the monotonic clock, what runs have said has to be written."""
        return NEVER if self.result_writer.full else self.executor.messages_due

    def on_beat(self, until: float) -> None:
        """Let runs go on until then, and wake the loop if it waits for the database: it is back."""
        self.executor.extend_lease(until)
        if not self.database_answers:
            self.database_answers = True
            self.waiter.wake()

    def on_connection_lost(self) -> None:
        """Take what was seen in the database for outdated: the connection to it was lost."""
        self.maintenance.reset_detector()
        self.next_work = None
        self.database_answers = False
        self._connection_was_lost = True

    def forward_cancellations(self) -> None:
        """Tell the executor which of the runs in hand somebody has cancelled."""
        if self.executor.in_hand:
            for cancelled in Execution.objects.asked_to_stop(str(self.worker.pk)):
                self.executor.cancel(*cancelled)

    def write_results(self) -> int:
        """Write what runs have said and how they ended; return how many ended."""
        if self._connection_was_lost:
            self.result_writer.give_back_unheld(self.executor.in_hand)
            self._connection_was_lost = False
        return self.result_writer.flush()
