"""The work of one worker, one ``tick`` at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from time import monotonic, sleep

from scheduled_tasks.conf import app_settings
from scheduled_tasks.executors.base import NEVER, Executor
from scheduled_tasks.executors.dispatch import Dispatcher
from scheduled_tasks.handlers.registry import registry
from scheduled_tasks.lifecycle import claiming, firing, lookahead, recording, stopping, suspecting
from scheduled_tasks.lifecycle.capacity import Capacity
from scheduled_tasks.lifecycle.claiming import Claimed
from scheduled_tasks.lifecycle.recording import claim_of
from scheduled_tasks.lifecycle.suspecting import Suspects
from scheduled_tasks.models import Worker
from scheduled_tasks.runtime.clock import Clock
from scheduled_tasks.runtime.runs import Run
from scheduled_tasks.worker.announcements import announce_start
from scheduled_tasks.worker.heartbeat import Heartbeat
from scheduled_tasks.worker.isolation import Isolation
from scheduled_tasks.worker.maintenance import Maintenance
from scheduled_tasks.worker.monitor import Monitor
from scheduled_tasks.worker.recycling import Recycling
from scheduled_tasks.worker.result_writer import ResultWriter
from scheduled_tasks.worker.scheduler_heartbeat import SchedulerHeartbeat
from scheduled_tasks.worker.waiter import Waiter
from scheduled_tasks.worker.watchdog import Watchdog

logger = logging.getLogger(__name__)

NO_LEAD = timedelta(0)


class WorkerLostError(RuntimeError):
    """Other workers have given this one up and may run its executions, so it must exit."""


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick did: executions ended, slots decided, executions claimed."""

    ended: int = 0
    fired: int = 0
    claimed: int = 0

    @property
    def idle(self) -> bool:
        """Whether there was nothing to do."""
        return not (self.ended or self.fired or self.claimed)


@dataclass(frozen=True, slots=True)
class NextWork:
    """The time of the next slot, and when the next execution may be claimed; None for never."""

    slot: datetime | None = None
    run: datetime | None = None

    def slot_due(self, now: datetime) -> bool:
        return self.slot is not None and self.slot <= now

    def run_due(self, now: datetime) -> bool:
        """Whether the next execution may be claimed."""
        return self.run is not None and self.run <= now


class Engine:
    """One worker, driven by calls of ``tick``; ``Scheduler`` calls it in a loop.

    Any number of workers may share a database. Each worker fires the slots of all tasks, and claims
    executions of the handlers that it knows, from ``queues`` (default: from every queue). Other
    defaults come from the settings.

    Only one thread may call it. The heartbeat thread calls ``on_beat``.
    """

    def __init__(
        self,
        *,
        concurrency: int | None = None,
        queues: Iterable[str] = (),
        worker_name: str = "",
        executor: type[Executor] | None = None,
        syncs: bool = True,
        recycling: Recycling | None = None,
        monotonic: Callable[[], float] = monotonic,
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
        self.isolation = Isolation()
        self.watchdog = Watchdog()
        self.heartbeat = Heartbeat(
            self.worker,
            self.clock,
            on_beat=self.on_beat,
            on_lost=self.waiter.wake,
            on_round=self.watchdog.beats.begin,
            watching=partial(self.watchdog.watching, self.watchdog.beats),
        )
        self.maintenance = Maintenance(self.worker, syncs=syncs, monotonic=monotonic)
        self.monitor = Monitor(
            self.worker,
            wake=self.waiter.wake,
            on_round=self.watchdog.scans.begin,
            watching=partial(self.watchdog.watching, self.watchdog.scans),
        )
        self.scheduler_heartbeat = SchedulerHeartbeat(self.worker)
        self.recycling = recycling or Recycling()
        #: What ``find_next_work`` found last; None when that is out of date.
        self.next_work: NextWork | None = None
        #: Whether the last claim left executions that are due, although there were free places.
        self._rest_is_held_back = False
        #: Whether the last firing decided no slot: others know the handlers of those that are left.
        self._left_slots = False
        #: Whether a heartbeat has reached the database since the last connection error.
        self.database_answers = True
        self._connection_was_lost = False
        self.registered = False

    def start(self, now: datetime | None = None) -> None:
        """Register this worker and sync declared tasks; the first ``tick`` does so if needed."""
        # Before the row is saved: loading may take longer than a lease, without a heartbeat.
        self.executor.open()
        self.worker.handlers = sorted(registry.handlers)
        self.worker.declaration_digest = registry.digest
        if now is not None:
            self.worker.started_at = self.worker.heartbeat_at = now
        self.worker.save()
        self.registered = True
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
        """Do everything that is due at ``now``, once, and return what was done.

        A slot within ``lead`` is decided early, in a transaction that commits when the slot is due.
        Raise WorkerLostError when other workers have given this one up.
        """
        if not self.registered:
            self.start(now)
        elif not self.heartbeat.running:
            self.heartbeat.beat(now)  # the caller's loop has no heartbeat thread
        elif self.heartbeat.stale:  # this process was frozen, and may have been given up
            self.heartbeat.beat()
        if self.heartbeat.problem:
            raise self.heartbeat.problem
        if self.heartbeat.lost:
            raise WorkerLostError("This worker was given up as lost, so it exits.")
        self.executor.check()
        ended = self.write_results()  # first, since endings free places and allow the next run
        self.follow_suspects(now)
        self.maintenance.run_due(now)
        self.forward_cancellations()
        fired, claimed = self.fire_and_claim_due(now, lead)
        self.begin_to_stop_if_worn()
        ended += self.write_results()
        self.monitor.run_due(now)  # last: what this round has decided is not reported as undecided
        self.report_round(now)
        return Tick(ended, fired, claimed)

    def report_round(self, now: datetime) -> None:
        """Send what this round has left in the outbox, and once a minute that it is complete."""
        # By the time of what was just written, which is later than the beginning of the round.
        self.monitor.send_new(self.clock.now())
        self.scheduler_heartbeat.send_due(now)

    def fire_and_claim_due(self, now: datetime, lead: timedelta = NO_LEAD) -> tuple[int, int]:
        """Fire and claim what is due; return the counts of slots decided and executions claimed.

        A slot is claimed in the transaction that fires it, unless an execution waits that may have
        to run first.
        """
        # What is due was found before the sleep, so no query delays it now.
        known = self.next_work
        next_work = known if known and known.slot_due(now + lead) else self.find_next_work(now)
        fired = claimed = 0
        if next_work.slot is not None and next_work.slot_due(now + lead):
            wait = partial(self.clock.wait, next_work.slot, lead) if next_work.slot > now else None
            # Decided as of the slot, because the transaction commits when that has come.
            now = max(now, next_work.slot)
            fired, claimed = self.fire(now, before_commit=wait)
            # Other workers may have fired or queued something in the meantime.
            next_work = self.find_next_work(now)
        waits = next_work.run_due(now)
        if waits:
            claimed += self.claim(now)
        # A claim changes what comes next.
        self.next_work = None if waits else next_work
        return fired, claimed

    def find_next_work(self, now: datetime) -> NextWork:
        """Ask the database what is next."""
        capacity = self.capacity
        slot, run = lookahead.next_work_times(capacity)
        if not capacity.count:
            return NextWork(slot)
        recheck_at = self.isolation.recheck_at
        if self.isolation.keeps_places_free:
            return NextWork(slot, recheck_at)
        run = lookahead.past_held_back(run, now, capacity)
        runs = [moment for moment in (run, recheck_at) if moment is not None]
        return NextWork(slot, min(runs, default=None))

    @property
    def capacity(self) -> Capacity:
        """What the executor can still run, in the form that firing takes."""
        free = self.free if self.accepts_runs else 0
        return Capacity(
            self.worker,
            free,
            self.worker.handlers,
            self.queues,
            past_held_back=self._rest_is_held_back,
            past_unknown=self._left_slots,
            past_suspects=self.isolation.recheck_at is not None,
        )

    @property
    def accepts_runs(self) -> bool:
        """Whether there is a free place for an execution, and room for its messages."""
        if self.isolation.holds_worker:
            return False
        return self.free > 0 and not self.executor.stuck and not self.result_writer.full

    @property
    def free(self) -> int:
        """The number of further executions that may be claimed now."""
        return self.recycling.room(self.executor.free)

    def fire(
        self, now: datetime, *, before_commit: Callable[[], None] | None = None
    ) -> tuple[int, int]:
        """Fire what is due, and claim it for free places; return both counts."""
        # While suspects wait, only a claim knows what comes first.
        claims = self.accepts_runs and self.isolation.recheck_at is None
        fired, claimed = firing.fire_and_claim(
            self.capacity if claims else None,
            now,
            limit=app_settings.BATCH_SIZE,
            # Slots of a handler that only newer code knows wait for a worker with that code.
            handlers=self.worker.handlers,
            before_commit=before_commit,
        )
        self._left_slots = not fired
        self.start_all(claimed)
        return fired, len(claimed)

    def claim(self, now: datetime) -> int:
        """Claim and start executions for the free places; return the count."""
        if not self.accepts_runs:
            return 0
        suspects = self.isolation.suspects_to_claim(now, self.executor.in_hand)
        claimed = self.claim_beside(suspects, now)
        if suspects is Suspects.LEAVE and claimed.left and not claimed.rows:
            self.isolation.stop_resting()
            suspects = self.isolation.suspects_to_claim(now, self.executor.in_hand)
            claimed = self.claim_beside(suspects, now)
        # The claim took what it could, so if places are free, the rest is held back.
        self._rest_is_held_back = self.accepts_runs
        return len(claimed.rows)

    def claim_beside(self, suspects: Suspects, now: datetime) -> Claimed:
        """Claim and start executions, suspects as the isolation says."""
        claimed = claiming.claim(
            self.worker,
            now,
            limit=min(self.free, app_settings.BATCH_SIZE),
            handlers=self.worker.handlers,
            queues=self.queues,
            suspects=suspects,
            together=self.isolation.together(now),
        )
        self.isolation.follow(claimed, now)
        self.start_all(execution.as_run() for execution in claimed.rows)
        return claimed

    def follow_suspects(self, now: datetime) -> None:
        """Let others run again next to suspects that have passed their probation."""
        in_hand = self.executor.in_hand
        if passed := self.isolation.passed_alone(now, in_hand):
            suspecting.end_probation(passed)
        self.isolation.update(now, in_hand, lost=self.result_writer.take_lost())

    def start_all(self, claimed: Iterable[Run]) -> None:
        """Hand claimed runs to the executor."""
        for run in claimed:
            self.recycling.claimed += 1
            announce_start(run)
            if run.begin_awaited and not self.executor.sends_begun(run):
                recording.record_begin(claim_of(run))
            self.executor.submit(run)
        sleep(0)  # gives way to the threads that have just been handed a run

    @property
    def only_stuck_runs_left(self) -> bool:
        """Whether all runs in hand neither end nor can be killed."""
        stuck = self.executor.stuck
        return bool(stuck) and len(stuck) == len(self.executor.in_hand)

    def begin_to_stop_if_worn(self) -> None:
        """Show that this worker claims nothing more, once its limit is reached."""
        if (reason := self.recycling.reason) and self.worker.state != Worker.State.STOPPING:
            self.worker.move_to(Worker.State.STOPPING)
            logger.info("worker stops when its runs have ended: %s", reason)

    @property
    def worn(self) -> bool:
        """Whether its limit is reached and its runs have ended."""
        return bool(self.recycling.reason) and not self.executor.in_hand

    @property
    def messages_due(self) -> float:
        """When the messages of runs must be written, by the monotonic clock."""
        return NEVER if self.result_writer.full else self.executor.messages_due

    def on_beat(self, until: float) -> None:
        """Extend the lease of the runs, and wake the loop if it waits for the database."""
        self.executor.extend_lease(until)
        if not self.database_answers:
            self.database_answers = True
            self.waiter.wake()

    def wake(self) -> None:
        """End the sleep of the loop, for work or for a message; called in the listener's thread."""
        self.monitor.look_again()
        self.waiter.wake()

    def on_connection_lost(self) -> None:
        """Forget what was read from the database: it may have changed."""
        self.maintenance.reset_detector()
        self.monitor.scanner.start_over()
        self.next_work = None
        self.database_answers = False
        self._connection_was_lost = True

    def forward_cancellations(self) -> None:
        """Tell the executor which of its runs were cancelled."""
        if self.executor.in_hand:
            # Again at each tick until they have ended; executors ignore what is already stopping.
            for cancelled in stopping.asked_to_stop(str(self.worker.pk)):
                self.executor.cancel(*cancelled)

    def write_results(self) -> int:
        """Write the messages and endings of runs; return the count of endings."""
        if self._connection_was_lost:
            self.result_writer.give_back_unheld(self.executor.in_hand)
            self._connection_was_lost = False
        return self.result_writer.flush()
