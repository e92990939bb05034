"""Sends what waits in the outbox, in threads: a receiver that hangs stops nothing else."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from datetime import datetime
from itertools import chain
from queue import Empty, SimpleQueue
from time import monotonic

from django.db import connections

from scheduled_tasks.conf import app_settings
from scheduled_tasks.exceptions import PermanentError
from scheduled_tasks.models import Delivery, Worker
from scheduled_tasks.monitoring.notifiers.errors import error_text
from scheduled_tasks.monitoring.outbox import messages as outbox
from scheduled_tasks.monitoring.outbox.messages import DeliveryResult
from scheduled_tasks.monitoring.outbox.sending import send

logger = logging.getLogger(__name__)

#: Messages that a worker holds at once, and those of one lane.
MAX_CLAIMED, MAX_PER_LANE = 200, 20
#: A message that takes longer has failed, and its thread is left to itself.
MAX_SENDING_SECONDS = 60.0
NOT_SENT_IN_TIME = f"It was not sent within {MAX_SENDING_SECONDS:g} s."
#: Threads that may hang in one lane before this worker leaves the lane to others.
MAX_STUCK_THREADS = 3
#: The claims of what is being sent are renewed this often in a lease, for which they hold.
RENEWALS_PER_LEASE = 3


class Lane:
    """What goes to one receiver: message after message, in a thread that ends when none is left."""

    def __init__(self, name: str, finish: Callable[[DeliveryResult], None]) -> None:
        self.name = name
        self.finish = finish
        self.waiting: deque[Delivery] = deque()
        #: What is being sent, and since when, by the monotonic clock.
        self.current: Delivery | None = None
        self.since = 0.0
        self.closed = False
        self._lock = threading.Lock()
        self.thread = threading.Thread(target=self._run, name=f"send {name}"[:60], daemon=True)

    def add(self, delivery: Delivery) -> bool:
        """Take a message; return False if the thread has ended or was abandoned."""
        with self._lock:
            if not self.closed:
                self.waiting.append(delivery)
            return not self.closed

    def abandon_since(self, moment: float) -> Delivery | None:
        """Leave the thread to itself if it has been sending a message since a moment; return it."""
        with self._lock:
            if self.current is None or self.since > moment:
                return None
            self.closed = True
            return self.current

    def drop_waiting(self) -> list[Delivery]:
        """Return what it has not begun, and does not begin any more."""
        with self._lock:
            left = list(self.waiting)
            self.waiting.clear()
            return left

    @property
    def held(self) -> list[Delivery]:
        """What it has not finished."""
        with self._lock:
            return [*self.waiting, *filter(None, [self.current])]

    def _run(self) -> None:
        try:
            while (delivery := self._next()) is not None:
                result = result_of(delivery)
                with self._lock:
                    if self.closed:
                        return  # too late: it counts as failed by now
                    self.current = None
                self.finish(result)
        finally:
            connections.close_all()  # of a callable that has used the database

    def _next(self) -> Delivery | None:
        with self._lock:
            if self.closed or not self.waiting:
                self.closed = True
                return None
            self.current, self.since = self.waiting.popleft(), monotonic()
            return self.current


def result_of(delivery: Delivery) -> DeliveryResult:
    """Send a message, whatever the notifier raises."""
    try:
        note = send(delivery)
    except BaseException as error:  # noqa: BLE001 -- also sys.exit() in a project's own notifier
        said, permanent = error_text(error), isinstance(error, PermanentError)
        return DeliveryResult(delivery.pk, said, permanent=permanent)
    return DeliveryResult(delivery.pk, note=note)


class Deliveries:
    """The outbox as one worker serves it. Only its main loop calls it, threads only send.

    ``on_result`` is called in a thread when a message has been sent, or could not be.
    """

    def __init__(
        self,
        worker: Worker,
        *,
        on_result: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = monotonic,
    ) -> None:
        self.worker = worker
        self.on_result = on_result
        self.monotonic = monotonic
        self._lanes: dict[str, Lane] = {}
        self._stuck: dict[str, list[threading.Thread]] = {}
        self._results: SimpleQueue[DeliveryResult] = SimpleQueue()
        self._unrecorded: list[DeliveryResult] = []
        self._renewed_at = monotonic()
        #: When the first of the messages that could not be sent is due again.
        self.retry_at: datetime | None = None
        outbox.sends_here.set()

    def wants_to_run(self, now: datetime) -> bool:
        """Whether there is something to send or to record, as far as this process knows."""
        retries = self.retry_at is not None and self.retry_at <= now
        return outbox.has_new.is_set() or retries or not self._results.empty()

    @property
    def busy(self) -> bool:
        """Whether messages are being sent, or results are not recorded."""
        return bool(self._unrecorded or self._held) or not self._results.empty()

    def run(self, now: datetime) -> None:
        """Record what was sent, and begin to send what is due."""
        outbox.has_new.clear()
        # Before anything else: what ends from now on is recorded the next time.
        held = self._held
        if self.retry_at is not None and self.retry_at <= now:
            self.retry_at = None
        self.record(now)
        self.abandon_stuck(now)
        self.renew(now)
        # Not until nothing is due: meanwhile the loop does nothing else.
        for _ in range(MAX_CLAIMED // MAX_PER_LANE):
            if not self.claim(now, held):
                return
        outbox.has_new.set()

    def record(self, now: datetime) -> None:
        """Write what came of messages; what cannot be written is kept for the next time."""
        self._unrecorded += drained(self._results)
        if not self._unrecorded:
            return
        rows = outbox.record_results(str(self.worker.pk), self._unrecorded, now)
        self._unrecorded = []
        for row in rows:
            log_result(row)
        again = [row.due_at for row in rows if row.finished_at is None]
        self.retry_at = min([*again, *filter(None, [self.retry_at])], default=None)

    def abandon_stuck(self, now: datetime) -> None:
        """Give up threads that send one message for too long; the rest of their lane is freed."""
        for lane in list(self._lanes.values()):
            stuck = lane.abandon_since(self.monotonic() - MAX_SENDING_SECONDS)
            if stuck is None:
                continue
            del self._lanes[lane.name]
            self._stuck.setdefault(lane.name, []).append(lane.thread)
            self._results.put(DeliveryResult(stuck.pk, NOT_SENT_IN_TIME))
            self.release(lane)
        self.record(now)

    def renew(self, now: datetime) -> None:
        """Keep what is being sent from other workers."""
        if self.monotonic() - self._renewed_at >= app_settings.LEASE / RENEWALS_PER_LEASE:
            self._renewed_at = self.monotonic()
            if held := self._held:
                outbox.renew_claims(str(self.worker.pk), [each.pk for each in held], now)

    def claim(self, now: datetime, held: Collection[Delivery]) -> bool:
        """Claim what is due and not held, and hand it to its lanes; return if there may be more."""
        free = MAX_CLAIMED - len(self._held) - self._results.qsize()
        if free <= 0:
            return False
        limit = min(free, MAX_PER_LANE)
        claimed = outbox.claim_deliveries(
            str(self.worker.pk),
            now,
            limit=limit,
            without=self.lanes_to_leave(),
            held=[each.pk for each in held],
        )
        for delivery in claimed:
            self.hand_over(delivery)
        return len(claimed) == limit

    def hand_over(self, delivery: Delivery) -> None:
        """Give a message to its lane, with a new thread if there is none."""
        lane = self._lanes.get(delivery.lane)
        if lane is None or not lane.add(delivery):
            lane = Lane(delivery.lane, self.finish)
            lane.add(delivery)
            lane.thread.start()
            # Only now: a thread that could not be started cannot be waited for.
            self._lanes[delivery.lane] = lane

    def lanes_to_leave(self) -> set[str]:
        """Return what this worker takes no more of: full lanes, and those with stuck threads."""
        full = {name for name, lane in self._lanes.items() if len(lane.held) >= MAX_PER_LANE}
        alive = {
            name: [thread for thread in threads if thread.is_alive()]
            for name, threads in self._stuck.items()
        }
        self._stuck = {name: threads for name, threads in alive.items() if threads}
        return full | {n for n, threads in self._stuck.items() if len(threads) >= MAX_STUCK_THREADS}

    def finish(self, result: DeliveryResult) -> None:
        """Keep a result for the main loop; called in threads."""
        self._results.put(result)
        self.on_result()

    @property
    def _held(self) -> list[Delivery]:
        return list(chain.from_iterable(lane.held for lane in self._lanes.values()))

    def close(self, now: datetime, *, seconds: float) -> None:
        """Give back what is not begun, and wait some seconds for what is being sent."""
        end = self.monotonic() + seconds
        for lane in self._lanes.values():
            self.release(lane)
        for lane in self._lanes.values():
            lane.thread.join(max(end - self.monotonic(), 0))
        self.record(now)

    def release(self, lane: Lane) -> None:
        """Give back what a lane has not begun."""
        if left := lane.drop_waiting():
            outbox.release_claims(str(self.worker.pk), [each.pk for each in left])


def log_result(row: Delivery) -> None:
    # Not the target: the address of a heartbeat is a secret.
    what = f"message {row.pk} ({row.event}) by {row.lane}"
    if row.delivered:
        logger.debug("sent %s", what)
    elif row.finished_at is None:
        logger.warning("%s could not be sent, trying again: %s", what, row.error)
    else:
        logger.error("%s could not be sent and is given up: %s", what, row.error)


def drained(results: SimpleQueue[DeliveryResult]) -> Iterable[DeliveryResult]:
    """Return what is in a queue now."""
    found = []
    with suppress(Empty):
        while True:
            found.append(results.get_nowait())
    return found
