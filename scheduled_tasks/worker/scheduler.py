"""The loop of a worker: ticks, sleeps until the next, waits out its database, and leaves."""

from __future__ import annotations

import logging
import random
import time
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.db import connections

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models import TaskState, Worker
from scheduled_tasks.models.sql.notify import wake_workers
from scheduled_tasks.models.sql.transactions import AWAY
from scheduled_tasks.worker.engine import NO_LEAD, Engine, Tick
from scheduled_tasks.worker.listener import Listener

logger = logging.getLogger(__name__)

#: A slot is decided so long before it comes, so that a run that is its begins at once.
FIRE_LEAD = timedelta(milliseconds=25)
#: Due rows that another transaction holds are looked at again after so many seconds, at random.
RECHECK_SECONDS = (0.02, 0.05)
#: A worker that is told of new work looks for what nobody tells so many times more rarely.
POLL_FACTOR_WHILE_LISTENING = 10
#: No sleep lasts longer than this part of a lease: others have to be watched.
MAX_SLEEP_LEASES = 1 / 6
#: Runs that end while the loop rests are written in one transaction: it rests for this part of the
#: time that its last tick took, within these bounds, in seconds, and not longer than runs go on.
GATHER_FACTOR, MIN_GATHER_SECONDS, MAX_GATHER_SECONDS = 0.5, 0.002, 0.02
#: What is overdue, since it could not be written, ends no sleep before so many seconds.
MIN_SLEEP_SECONDS = 0.05
#: After an error of the database the loop waits, from the first number of seconds to the second, or
#: to the third while it has no heartbeat yet, which would wake it when the database is back.
MIN_RECOVERY_SECONDS, MAX_RECOVERY_SECONDS, MAX_RECOVERY_SECONDS_WITHOUT_HEARTBEAT = 0.5, 30.0, 5.0
#: How long what was abandoned may take to end before the worker leaves without it, in seconds.
MAX_ABANDON_SECONDS = 10.0


class Scheduler(Engine):
    """One worker. ``tick(now)`` is the whole engine, ``run()`` a loop round it.

    Times are in seconds; what is not given comes from the settings. Further options are those of
    the engine.
    """

    def __init__(
        self,
        *,
        poll_interval: float | None = None,
        shutdown_timeout: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.poll_interval = poll_interval or app_settings.POLL_INTERVAL
        self.shutdown_timeout = (
            app_settings.SHUTDOWN_TIMEOUT if shutdown_timeout is None else shutdown_timeout
        )
        self.listener = Listener(on_wake=self.waiter.wake)
        self._stops_asked = 0
        self._tick_took = 0.0
        self._abandoned_at: float | None = None

    def run(self) -> None:
        """Work until ``stop``, then let what runs finish. Raise WorkerLostError when given up.

        Errors of the database are waited out; any other error ends the loop, and with it the
        process: a scheduler must never be alive but dead. Where runs neither end nor can be
        ended, it goes on until the others have, and returns.
        """
        failures = 0
        try:
            self.watchdog.start()
            while not (self._stops_asked or self.only_stuck_runs_left):
                self.watchdog.rounds.begin()
                try:
                    if not self.heartbeat.running:
                        self.start()
                        self.heartbeat.start()
                        self.listener.start()
                    now, begun = self.clock.now(), time.monotonic()
                    tick = self.tick(now, lead=self.lead)
                    self._tick_took = time.monotonic() - begun
                    pause = self.seconds_until_next(tick, now)
                except AWAY as error:
                    failures += 1
                    self.wait_for_database(self.recover(error, failures))
                else:
                    failures = 0
                    self.sleep(pause)
            self.shut_down()
        finally:
            self.close()

    def run_once(self) -> None:
        """Fire what is due, run what waits for this worker, and return when all of it ended."""
        try:
            self.watchdog.start()
            self.start()
            self.heartbeat.start()
            while not (self._stops_asked or self.only_stuck_runs_left):
                self.watchdog.rounds.begin()
                tick = self.tick(self.clock.now())
                if tick.idle and self.executor.free == self.executor.concurrency:
                    break
                if tick.idle:
                    self.sleep(self.poll_interval)
            self.shut_down()
        finally:
            self.close()

    @property
    def only_stuck_runs_left(self) -> bool:
        """Say whether all that it still holds are runs that neither end nor can be ended."""
        stuck = self.executor.stuck
        return bool(stuck) and len(stuck) == len(self.executor.in_hand)

    def stop(self) -> None:
        """Ask the loop to stop; asked a second time, it waits for nothing. Safe in a signal."""
        self._stops_asked += 1
        self.waiter.wake()

    def sleep(self, seconds: float) -> None:
        """Sleep until the time is over, there is something to do, or to write."""
        soonest = time.monotonic() + MIN_SLEEP_SECONDS
        if self.waiter.sleep(seconds, until=lambda: max(self.messages_due, soonest)):
            self.gather_endings()
        self.waiter.clear()

    def gather_endings(self) -> None:
        """Let other runs end that do within a moment."""
        longest = min(max(GATHER_FACTOR * self._tick_took, MIN_GATHER_SECONDS), MAX_GATHER_SECONDS)
        end = time.monotonic() + longest
        while not self.executor.all_ended and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, MIN_GATHER_SECONDS))

    def wait_for_database(self, seconds: float) -> None:
        """Leave the database alone so long, whatever ends meanwhile, or until it answers a beat."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._stops_asked or self.database_answers or self.heartbeat.lost:
                break
            self.waiter.sleep(left, until=lambda: end)

    @cached_property
    def lead(self) -> timedelta:
        """Return how long before it comes a slot is decided.

        Not at all where that would keep everybody else from writing until then.
        """
        features = connections[TaskState.objects.all().write_alias].features
        return FIRE_LEAD if features.has_select_for_update else NO_LEAD

    def seconds_until_next(self, tick: Tick, now: datetime) -> float:
        """Return how many seconds to sleep: until the next slot or retry, at most a poll.

        What was due at the moment of the tick, and is there still, is held by somebody else.
        """
        next_work = self.next_work = self.next_work or self.find_next_work(self.clock.now())
        told = self.listener.verified and not self.result_writer.unwritten
        longest = min(
            self.poll_interval * (POLL_FACTOR_WHILE_LISTENING if told else 1),
            app_settings.LEASE * MAX_SLEEP_LEASES,
        )
        slot = next_work.slot and next_work.slot - self.lead
        moments = [
            at for at in (slot, next_work.run if self.accepts_runs else None) if at is not None
        ]
        if not moments:
            return longest
        first = min(moments)
        if first <= now and not tick.fired:
            return random.uniform(*RECHECK_SECONDS)  # noqa: S311
        return min(max((first - self.clock.now()).total_seconds(), 0), longest)

    def recover(self, error: Exception, failures: int) -> float:
        """Drop this thread's connections after an error; return the seconds to wait."""
        most = (
            MAX_RECOVERY_SECONDS
            if self.heartbeat.running
            else MAX_RECOVERY_SECONDS_WITHOUT_HEARTBEAT
        )
        longest = min(MIN_RECOVERY_SECONDS * 2.0 ** min(failures - 1, 30), most)
        pause = longest * random.uniform(0.5, 1)  # noqa: S311
        logger.error("database error, tried again in %.1f s: %s", pause, error)
        connections.close_all()
        self.on_connection_lost()
        return pause

    def shut_down(self) -> None:
        """Claim no more, wait for what runs, then end it and give it back.

        Where the database stays away until the time is over, the other workers take this one's
        executions after a lease.
        """
        deadline = time.monotonic() + self.shutdown_timeout
        while not self.try_to_stop(deadline):
            self.watchdog.rounds.begin()
            left = deadline - time.monotonic()
            self.sleep(min(left, self.poll_interval) if left > 0 else self.poll_interval)

    def try_to_stop(self, deadline: float) -> bool:
        """Write what has ended, and say goodbye if nothing is left or the time is over."""
        over = time.monotonic() >= deadline or self._stops_asked > 1 or self.only_stuck_runs_left
        if over and self._abandoned_at is None:
            self.abandon()
        try:
            self.worker.move_to(Worker.State.STOPPING)
            self.write_results()
            if self.executor.in_hand:
                return over and self.gave_up_waiting
            if self.result_writer.unwritten and not over:
                return False
            self.worker.move_to(Worker.State.STOPPED)
            wake_workers(TaskState.objects.all().write_alias)  # for what it has given back
        except AWAY as error:
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
    def gave_up_waiting(self) -> bool:
        """Say whether what was abandoned has not ended for so long that waiting is in vain."""
        since = self._abandoned_at
        return since is not None and time.monotonic() - since > MAX_ABANDON_SECONDS

    def close(self) -> None:
        """End the threads and processes of this worker, whatever they do."""
        self.heartbeat.stop()
        self.listener.stop()
        self.executor.close()
        self.watchdog.stop()
        logger.info("worker stopped label=%s", self.worker.label)

    @property
    def unfinished(self) -> bool:
        """Say whether runs, or the writing of their ends, were left behind by ``run``."""
        return bool(
            self.executor.in_hand
            or self.result_writer.unwritten
            or self.executor.leaves_code_running
        )
