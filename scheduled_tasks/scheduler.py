"""The engine: each tick beats, ends, keeps house, fires, claims and runs."""

from __future__ import annotations

import logging
import queue
import random
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from django.db import InterfaceError, OperationalError, connections
from django.db.models import Min

from scheduled_tasks.announcements import announce_start
from scheduled_tasks.clock import Clock
from scheduled_tasks.collector import Collector
from scheduled_tasks.conf import app_settings
from scheduled_tasks.executors.base import Executor
from scheduled_tasks.executors.dispatch import Dispatcher
from scheduled_tasks.heartbeat import Heartbeat
from scheduled_tasks.housekeeping import Housekeeping
from scheduled_tasks.models import Execution, TaskState, Worker
from scheduled_tasks.registry import registry

logger = logging.getLogger(__name__)

#: Due rows that another transaction holds are looked at again after so many seconds, at random.
LOOK_AGAIN = (0.02, 0.05)
#: Runs that end within so many seconds of each other are written in one transaction.
GATHER = 0.002
#: After an error of the database the loop waits, from the first number of seconds to the second.
FIRST_RECOVERY, LONGEST_RECOVERY = 0.5, 30.0
#: How long what was abandoned may take to end before the worker leaves without it, in seconds.
LONGEST_END = 10.0


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


class Scheduler:
    """One worker. ``tick(now)`` is the whole engine, ``run()`` a loop round it.

    Any number of workers may share a database. Each fires the slots of all tasks, and claims the
    executions of the handlers that it knows; ``queues`` limits that (none given: every queue).
    Times are in seconds; what is not given comes from the settings.
    """

    def __init__(
        self,
        *,
        concurrency: int | None = None,
        queues: Iterable[str] = (),
        poll_interval: float | None = None,
        shutdown_timeout: float | None = None,
        worker_name: str = "",
        executor: type[Executor] | None = None,
        syncs: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.queues = list(queues)
        self.poll_interval = poll_interval or app_settings.POLL_INTERVAL
        self.shutdown_timeout = (
            app_settings.SHUTDOWN_TIMEOUT if shutdown_timeout is None else shutdown_timeout
        )
        self.clock = Clock()
        self.worker = Worker.of_this_process(label=worker_name)
        self.worker.queues = self.queues
        self.worker.concurrency = concurrency or app_settings.CONCURRENCY
        self.executor = Dispatcher(
            executor or app_settings.EXECUTOR,
            concurrency=self.worker.concurrency,
            clock=self.clock.now,
            on_finished=self.wake,
            on_message=self.look_up,
        )
        self.collector = Collector(self.executor, self.worker, self.clock)
        self.heartbeat = Heartbeat(self.worker, self.clock, on_beat=self.executor.extend_lease)
        self.housekeeping = Housekeeping(self.worker, syncs=syncs, monotonic=monotonic)
        # A queue and not an Event: a signal handler may put into it whatever the loop is doing.
        # What is put says whether there is something to do at once.
        self._wake: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._stops_asked = 0
        self._abandoned_at: float | None = None
        self._cut_off = False

    def start(self, now: datetime | None = None) -> None:
        """Announce this worker and write what code declares; ``tick`` does it where it was not."""
        self.executor.open()
        self.worker.handlers = sorted(registry.handlers)
        self.worker.declaration_digest = registry.digest
        if now is not None:
            self.worker.started_at = self.worker.heartbeat_at = now
        self.worker.save()
        self.heartbeat.beat(now)
        self.housekeeping.begin(now or self.clock.now())
        logger.info(
            "worker started label=%s handlers=%s concurrency=%s queues=%s",
            self.worker.label,
            len(self.worker.handlers),
            self.worker.concurrency,
            ",".join(self.queues) or "all",
        )

    def tick(self, now: datetime) -> Tick:
        """Do all that is due at ``now``, once, and return what was done."""
        if self.worker._state.adding:  # noqa: SLF001 -- Django's own mark of an unsaved row
            self.start(now)
        elif not self.heartbeat.running:
            self.heartbeat.beat(now)
        elif self.heartbeat.stale:
            self.heartbeat.beat()
        if self.heartbeat.lost:
            raise WorkerLostError("This worker was given up as lost; it must not go on.")
        self.executor.check()
        ended = self.collect()
        if self._cut_off:
            self.collector.give_back_unheld(self.executor.in_hand)
            self._cut_off = False
        self.housekeeping.look(now)
        self.pass_on_cancellations()
        fired = Execution.objects.fire(now, limit=app_settings.BATCH_SIZE)
        claimed = self.claim(now)
        return Tick(ended + self.collect(), fired, claimed)

    def claim(self, now: datetime) -> int:
        """Claim as many executions as there are free places and start them; return how many."""
        if self.executor.free < 1 or self.executor.stuck:
            return 0
        claimed = Execution.objects.claim(
            self.worker,
            now,
            limit=min(self.executor.free, app_settings.BATCH_SIZE),
            handlers=self.worker.handlers,
            queues=self.queues,
        )
        for execution in claimed:
            run = execution.as_run()
            announce_start(run)
            self.executor.submit(run)
        return len(claimed)

    def pass_on_cancellations(self) -> None:
        """Tell the executor which of the runs in hand somebody has cancelled."""
        if self.executor.in_hand:
            for cancelled in Execution.objects.asked_to_stop(str(self.worker.pk)):
                self.executor.cancel(*cancelled)

    def collect(self) -> int:
        """Write what runs have said and how they ended; return how many ended."""
        return self.collector.collect()

    def run(self) -> None:
        """Work until ``stop``, then let what runs finish. Raise WorkerLostError when given up.

        Errors of the database are waited out; any other error ends the loop, and with it the
        process: a scheduler must never be alive but dead. Where runs neither end nor can be
        ended, it goes on until the others have, and returns.
        """
        failures = 0
        try:
            while not (self._stops_asked or self.worn_out):
                try:
                    if not self.heartbeat.running:
                        self.start()
                        self.heartbeat.start()
                    tick = self.tick(self.clock.now())
                    pause = self.pause(tick)
                    failures = 0
                except (OperationalError, InterfaceError) as error:
                    failures += 1
                    pause = self.recover(error, failures)
                self.sleep(pause)
            self.shut_down()
        finally:
            self.let_go()

    def run_once(self) -> None:
        """Fire what is due, run what waits for this worker, and return when all of it ended."""
        try:
            self.start()
            self.heartbeat.start()
            while not (self._stops_asked or self.worn_out):
                tick = self.tick(self.clock.now())
                if tick.idle and self.executor.free == self.executor.concurrency:
                    break
                if tick.idle:
                    self.sleep(self.poll_interval)
            self.shut_down()
        finally:
            self.let_go()

    @property
    def worn_out(self) -> bool:
        """Say whether all that it still holds are runs that neither end nor can be ended."""
        stuck = self.executor.stuck
        return bool(stuck) and len(stuck) == len(self.executor.in_hand)

    def stop(self) -> None:
        """Ask the loop to stop; asked a second time, it waits for nothing. Safe in a signal."""
        self._stops_asked += 1
        self.wake()

    def wake(self) -> None:
        """End the loop's sleep; safe from any thread and in a signal handler."""
        self._wake.put(True)

    def look_up(self) -> None:
        """Let the loop notice that there is something to write in a while; safe likewise."""
        self._wake.put(False)

    def sleep(self, seconds: float) -> None:
        """Sleep until the time is over, there is something to do, or to write."""
        end = time.monotonic() + seconds
        with suppress(queue.Empty):
            while (left := min(end, self.executor.messages_due) - time.monotonic()) > 0:
                if self._wake.get(timeout=left):
                    time.sleep(GATHER if self.executor.in_hand else 0)
                    break
        with suppress(queue.Empty):
            while True:
                self._wake.get_nowait()

    def pause(self, tick: Tick) -> float:
        """Return how many seconds to sleep: until the next slot or retry, at most a poll."""
        if tick.fired:
            return 0
        coming = [TaskState.objects.next_due_at()]
        if self.executor.free and not self.executor.stuck:
            waiting = Execution.objects.waiting_for(
                handlers=self.worker.handlers, queues=self.queues
            ).not_held_back(self.clock.now())
            coming.append(waiting.aggregate(at=Min("run_after"))["at"])
        moments = [moment for moment in coming if moment is not None]
        if not moments:
            return self.poll_interval
        delay = (min(moments) - self.clock.now()).total_seconds()
        if delay <= 0:
            delay = random.uniform(*LOOK_AGAIN)  # noqa: S311
        return min(delay, self.poll_interval)

    def recover(self, error: Exception, failures: int) -> float:
        """Drop this thread's connections after an error; return the seconds to wait."""
        longest = min(FIRST_RECOVERY * 2.0 ** (failures - 1), LONGEST_RECOVERY)
        pause = longest * random.uniform(0.5, 1)  # noqa: S311
        logger.error("database error, tried again in %.1f s: %s", pause, error)
        connections.close_all()
        self.housekeeping.begin_watch_anew()
        self._cut_off = True
        return pause

    def shut_down(self) -> None:
        """Claim no more, wait for what runs, then end it and give it back.

        Where the database stays away until the time is over, the other workers take this one's
        executions after a lease.
        """
        deadline = time.monotonic() + self.shutdown_timeout
        while not self.try_to_leave(deadline):
            left = deadline - time.monotonic()
            self.sleep(min(left, self.poll_interval) if left > 0 else self.poll_interval)

    def try_to_leave(self, deadline: float) -> bool:
        """Write what has ended, and say goodbye if nothing is left or the time is over."""
        over = time.monotonic() >= deadline or self._stops_asked > 1 or self.worn_out
        if over and self._abandoned_at is None:
            self.abandon()
        try:
            self.worker.move_to(Worker.State.STOPPING)
            self.collect()
            if self.executor.in_hand:
                return over and self.cannot_end
            self.worker.move_to(Worker.State.STOPPED)
        except (OperationalError, InterfaceError) as error:
            connections.close_all()
            logger.error("database error while stopping: %s", error)  # noqa: TRY400
            return over
        return True

    def abandon(self) -> None:
        """Bring to an end what runs: what has not succeeded goes back to the queue, or fails."""
        self._abandoned_at = time.monotonic()
        if in_hand := self.executor.in_hand:
            logger.error("worker stops with %s executions unfinished", len(in_hand))
            self.executor.abandon()

    @property
    def cannot_end(self) -> bool:
        """Say whether what was abandoned has not ended for so long that waiting is in vain."""
        since = self._abandoned_at
        return since is not None and time.monotonic() - since > LONGEST_END

    def let_go(self) -> None:
        """End the threads and processes of this worker, whatever they do."""
        self.heartbeat.stop()
        self.executor.close()
        logger.info("worker stopped label=%s", self.worker.label)

    @property
    def unfinished(self) -> bool:
        """Say whether runs, or the writing of their ends, were left behind by ``run``."""
        return bool(
            self.executor.in_hand or self.collector.unwritten or self.executor.leaves_code_running
        )
