"""The loop of a worker process: tick, sleep, wait out database outages, shut down."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import cached_property, partial
from time import monotonic, sleep

from django.db import connections, reset_queries

from scheduled_tasks.conf import app_settings
from scheduled_tasks.executors.base import Executor
from scheduled_tasks.models import TaskState, Worker
from scheduled_tasks.models.sql.notify import wake_workers
from scheduled_tasks.models.sql.transactions import AWAY, is_unusable
from scheduled_tasks.runtime.clock import Clock
from scheduled_tasks.runtime.wording import counted
from scheduled_tasks.worker.engine import NO_LEAD, Engine, Tick
from scheduled_tasks.worker.listener import Listener
from scheduled_tasks.worker.liveness_file import LivenessFile
from scheduled_tasks.worker.pruning import DailyPruning
from scheduled_tasks.worker.recycling import Recycling
from scheduled_tasks.worker.watchdog import Rounds

logger = logging.getLogger(__name__)

#: Slots are decided this early, so that their runs begin on time.
FIRE_LEAD = timedelta(milliseconds=25)
#: Seconds until due rows that another transaction holds are tried again (random).
RECHECK_SECONDS = (0.02, 0.05)
#: With LISTEN working, poll this many times less often.
POLL_FACTOR_WHILE_LISTENING = 10
#: The longest sleep, as a part of a lease.
MAX_SLEEP_LEASES = 1 / 6
#: After a run ends, the loop waits for others, to write their endings in one transaction. It waits
#: for this part of the duration of its last tick, within these bounds.
GATHER_FACTOR, MIN_GATHER_SECONDS, MAX_GATHER_SECONDS = 0.5, 0.002, 0.02
#: Messages that are overdue because they cannot be written end no sleep earlier than this.
MIN_SLEEP_SECONDS = 0.05
#: Waits after database errors grow from the first to the second.
MIN_RECOVERY_SECONDS, MAX_RECOVERY_SECONDS = 0.5, 30.0
#: The longest wait before the heartbeat runs, which otherwise wakes the loop when the database is
#: back.
MAX_RECOVERY_SECONDS_WITHOUT_HEARTBEAT = 5.0
#: How long a single pass waits for the messages that it sends, before it closes like any worker.
MAX_SENDING_SECONDS = 30.0
#: How long the worker waits for abandoned runs to end before it exits without them.
MAX_ABANDON_SECONDS = 10.0


class Scheduler:
    """One worker: ``tick(now)`` does all its work once, ``run()`` calls it in a loop.

    ``poll_interval`` and ``shutdown_timeout`` are in seconds and default to the settings;
    ``max_executions`` and ``max_age`` are those of ``Recycling``, ``liveness_file`` is the path of
    a ``LivenessFile``, and the other options are those of ``Engine``. ``stop`` may be called from
    any thread and in a signal handler, everything else from one thread only.
    """

    def __init__(
        self,
        *,
        poll_interval: float | None = None,
        shutdown_timeout: float | None = None,
        concurrency: int | None = None,
        queues: Iterable[str] = (),
        worker_name: str = "",
        executor: type[Executor] | None = None,
        syncs: bool = True,
        max_executions: int | None = None,
        max_age: float | None = None,
        liveness_file: str | None = None,
        monotonic: Callable[[], float] = monotonic,
        clock: Clock | None = None,
    ) -> None:
        self.engine = Engine(
            concurrency=concurrency,
            queues=queues,
            worker_name=worker_name,
            executor=executor,
            syncs=syncs,
            recycling=Recycling(
                max_executions=max_executions, max_age=max_age, monotonic=monotonic
            ),
            monotonic=monotonic,
            clock=clock,
        )
        self.poll_interval = poll_interval or app_settings.POLL_INTERVAL
        self.shutdown_timeout = (
            app_settings.SHUTDOWN_TIMEOUT if shutdown_timeout is None else shutdown_timeout
        )
        self.listener = Listener(on_wake=self.engine.wake)
        self.liveness_file: LivenessFile | None = None
        if liveness_file is not None:
            label = self.engine.worker.label
            self.liveness_file = LivenessFile(liveness_file, label, self.engine.watchdog)
        self.pruning = DailyPruning(
            self.engine.worker,
            self.engine.clock.now,
            # With rounds of its own: it does not show that the main loop is active.
            watching=partial(self.engine.watchdog.watching, Rounds()),
        )
        self._stops_requested = 0
        self._tick_seconds = 0.0
        self._abandoned_at: float | None = None
        self._stop_error = ""

    def tick(self, now: datetime, *, lead: timedelta = NO_LEAD) -> Tick:
        """Do everything that is due at ``now``, once. See ``Engine.tick``."""
        return self.engine.tick(now, lead=lead)

    def run(self) -> None:
        """Work until ``stop``, then let runs finish. Raise WorkerLostError when given up as lost.

        Raise LivenessFileError, with nothing begun, if that file cannot be written.

        Database errors are waited out. Any other error ends the loop and with it the process: a
        scheduler must not stay alive without working. Where runs neither end nor can be killed, it
        waits for the other runs and returns.
        """
        failures = 0
        self.start_liveness_file()
        try:
            self.engine.watchdog.start()
            while not self.stopping:
                self.begin_round()
                try:
                    self.start()
                    if self._stops_requested:  # while it started: nothing is claimed any more
                        break
                    now, begun = self.engine.clock.now(), monotonic()
                    tick = self.tick(now, lead=self.lead)
                    self._tick_seconds = monotonic() - begun
                    pause = self.seconds_until_next(tick, now)
                except AWAY as error:
                    if is_unusable(error):
                        raise
                    failures += 1
                    self.wait_for_database(self.recover(error, failures))
                else:
                    failures = 0
                    self.sleep(pause)
            self.shut_down()
        finally:
            self.close()

    def run_once(self) -> None:
        """Fire what is due, run what this worker can claim, and return when all of it has ended.

        Raise LivenessFileError, with nothing begun, if that file cannot be written.
        """
        engine = self.engine
        self.start_liveness_file()
        try:
            engine.watchdog.start()
            engine.start()
            engine.heartbeat.start()
            while not self.stopping:
                self.begin_round()
                tick = self.tick(engine.clock.now())
                if tick.idle and engine.executor.free == engine.executor.concurrency:
                    self.finish_pass()
                    break
                if tick.idle:
                    self.sleep(self.poll_interval)
            self.shut_down()
        finally:
            self.close()

    def finish_pass(self) -> None:
        """Look for alerts and send messages, which may take some time; nothing more is claimed."""
        monitor, end = self.engine.monitor, monotonic() + MAX_SENDING_SECONDS
        monitor.scanner.run(self.engine.clock.now())
        while monitor.is_sending(self.engine.clock.now()) and monotonic() < end:
            if self._stops_requested:
                break
            self.begin_round()
            self.sleep(self.poll_interval)

    def start_liveness_file(self) -> None:
        if self.liveness_file is not None:
            self.begin_round()
            self.liveness_file.start()

    def begin_round(self) -> None:
        """Let the watchdog count, and forget the queries that Django keeps under DEBUG."""
        self.engine.watchdog.rounds.begin()
        reset_queries()

    def stop(self, *, at_once: bool = False) -> None:
        """Ask the loop to stop; ``at_once`` or a second call: without waiting for runs."""
        self._stops_requested += 2 if at_once else 1
        self.engine.waiter.wake()

    @property
    def stopping(self) -> bool:
        """Whether the loop has to end: it was asked to, is worn, or has nothing but stuck runs."""
        engine = self.engine
        return self._stops_requested > 0 or engine.worn or engine.only_stuck_runs_left

    def start(self) -> None:
        """Register this worker and start its threads, unless that has succeeded before."""
        if not self.engine.heartbeat.running:
            self.engine.start()
            self.engine.heartbeat.start()
            self.listener.start()
            self.pruning.start()
            self.engine.monitor.scanner.start()

    def sleep(self, seconds: float) -> None:
        """Sleep until the time is over, or there is something to do or to write.

        A long sleep ends early, so that the worker watches the others and is seen to be alive.
        """
        engine, soonest = self.engine, monotonic() + MIN_SLEEP_SECONDS
        seconds = min(seconds, longest_sleep())
        if engine.waiter.sleep(seconds, until=lambda: max(engine.messages_due, soonest)):
            self.gather_endings()
        engine.waiter.clear()

    def gather_endings(self) -> None:
        """Wait a moment for other runs to end, so that one transaction writes all of them."""
        seconds = min(
            max(GATHER_FACTOR * self._tick_seconds, MIN_GATHER_SECONDS), MAX_GATHER_SECONDS
        )
        end = monotonic() + seconds
        while not self.engine.executor.all_ended and (left := end - monotonic()) > 0:
            sleep(min(left, MIN_GATHER_SECONDS))

    def wait_for_database(self, seconds: float) -> None:
        """Leave the database alone, at most until a heartbeat reaches it; endings do not count."""
        engine, end = self.engine, monotonic() + seconds
        while (left := end - monotonic()) > 0:
            self.begin_round()
            if self._stops_requested or engine.database_answers or engine.heartbeat.lost:
                break
            engine.waiter.sleep(min(left, longest_sleep()), until=lambda: end)

    @cached_property
    def lead(self) -> timedelta:
        """How early slots are decided: not at all where that transaction blocks all writers."""
        features = connections[TaskState.objects.all().write_alias].features
        return FIRE_LEAD if features.has_select_for_update else NO_LEAD

    def seconds_until_next(self, tick: Tick, now: datetime) -> float:
        """Return how long to sleep: until the next slot or retry, at most until the next poll.

        What was due at the tick and is still there is locked by another transaction.
        """
        engine = self.engine
        next_work = engine.next_work = engine.next_work or engine.find_next_work(engine.clock.now())
        # What could not be written is tried again at the usual pace.
        notified = self.listener.verified and not engine.result_writer.unwritten
        longest = min(
            self.poll_interval * (POLL_FACTOR_WHILE_LISTENING if notified else 1),
            longest_sleep(),
            engine.monitor.max_sleep,
            max(engine.recycling.seconds_left, 0),
        )
        slot = next_work.slot and next_work.slot - self.lead
        run = next_work.run if engine.accepts_runs else None
        known = (slot, run, engine.isolation.until, engine.monitor.next_at)
        moments = [moment for moment in known if moment is not None]
        if not moments:
            return longest
        first = min(moments)
        if first <= now and not tick.fired:
            return random.uniform(*RECHECK_SECONDS)  # noqa: S311
        return min(max((first - engine.clock.now()).total_seconds(), 0), longest)

    def recover(self, error: Exception, failures: int) -> float:
        """Drop this thread's connections after an error; return the seconds to wait."""
        beats = self.engine.heartbeat.running
        maximum = MAX_RECOVERY_SECONDS if beats else MAX_RECOVERY_SECONDS_WITHOUT_HEARTBEAT
        longest = min(MIN_RECOVERY_SECONDS * 2.0 ** min(failures - 1, 30), maximum)
        # At random, so that workers do not come back to the database at the same moment.
        pause = longest * random.uniform(0.5, 1)  # noqa: S311
        logger.error("database error, trying again in %.1f s: %s", pause, error)
        connections.close_all()
        self.engine.on_connection_lost()
        return pause

    def shut_down(self) -> None:
        """Claim nothing more, wait for runs, then end them and give their executions back.

        If the database stays away until the timeout, other workers take the executions over after
        a lease.
        """
        if not self.engine.registered:
            return  # the database was away from the start
        deadline = monotonic() + self.shutdown_timeout
        while not self.try_to_stop(deadline):
            self.begin_round()
            left = deadline - monotonic()
            self.sleep(min(left, self.poll_interval) if left > 0 else self.poll_interval)

    def try_to_stop(self, deadline: float) -> bool:
        """Write what has ended; sign off if nothing is left or the time is over."""
        engine = self.engine
        over = monotonic() >= deadline or self._stops_requested > 1 or engine.only_stuck_runs_left
        if over and self._abandoned_at is None:
            self.abandon()
        try:
            engine.begin_to_stop_if_worn()  # the limit may be reached between two ticks
            engine.worker.move_to(Worker.State.STOPPING)
            engine.write_results()
            engine.monitor.serve(engine.clock.now())
            if engine.executor.in_hand:
                return over and self.waited_for_abandoned
            if engine.result_writer.unwritten and not over:
                return False
            engine.worker.move_to(Worker.State.STOPPED)
            wake_workers(TaskState.objects.all().write_alias)  # to claim what was given back
        except AWAY as error:
            connections.close_all()
            if str(error) != self._stop_error:  # once, although it is tried again and again
                self._stop_error = str(error)
                logger.error("database error while stopping: %s", error)  # noqa: TRY400
            return over or is_unusable(error)
        return True

    def abandon(self) -> None:
        """End the runs: those that have not succeeded are queued again, or fail."""
        self._abandoned_at = monotonic()
        if in_hand := self.engine.executor.in_hand:
            logger.error("worker stops with %s unfinished", counted(len(in_hand), "execution"))
            self.engine.executor.abandon()

    @property
    def waited_for_abandoned(self) -> bool:
        """Whether the wait for abandoned runs is over."""
        since = self._abandoned_at
        return since is not None and monotonic() - since > MAX_ABANDON_SECONDS

    def close(self) -> None:
        """End the threads and processes of this worker, whatever they are doing."""
        self.engine.heartbeat.stop()
        self.listener.stop()
        self.pruning.stop()
        self.engine.executor.close()
        # After the executor: runs of a worker that is given up as lost must not go on meanwhile.
        if self.engine.registered:
            self.engine.monitor.close(self.engine.clock.now())
        # Last, because the threads above may have to be freed from a connection that hangs.
        self.engine.watchdog.stop()
        if self.liveness_file is not None:
            self.liveness_file.stop()
        logger.info("worker stopped label=%s", self.engine.worker.label)

    @property
    def unfinished(self) -> bool:
        """Whether ``run`` has left behind runs, or endings that are not written."""
        executor = self.engine.executor
        return bool(
            executor.in_hand or self.engine.result_writer.unwritten or executor.leaves_code_running
        )


def longest_sleep() -> float:
    """Return the seconds that the loop sleeps at most."""
    return app_settings.LEASE * MAX_SLEEP_LEASES
