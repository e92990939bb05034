"""Sends what waits in the outbox, in threads: a receiver that hangs stops nothing else."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from time import monotonic

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models import Delivery, Worker
from scheduled_tasks.monitoring.outbox import claims
from scheduled_tasks.monitoring.outbox import messages as outbox
from scheduled_tasks.monitoring.outbox.claims import DeliveryResult, Room
from scheduled_tasks.monitoring.outbox.sending import MAX_SENDING_SECONDS, not_sent_within
from scheduled_tasks.runtime.wording import counted
from scheduled_tasks.worker.lanes import Lane
from scheduled_tasks.worker.stuck_lanes import StuckLanes

logger = logging.getLogger(__name__)

#: Messages that a worker holds at once, and those of one lane.
MAX_CLAIMED, MAX_PER_LANE = 200, 20
#: The claims of one round, before the loop does something else.
MAX_CLAIMS_PER_ROUND = 5
#: A lane that sends one message for longer keeps only that one, until it ends.
SLOW_SECONDS = 5.0
#: The claims of what is being sent are renewed this often in a lease, for which they hold.
RENEWALS_PER_LEASE = 3


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
        #: What was claimed, by id, until its result is written or it is given back.
        self._in_hand: dict[int, Delivery] = {}
        self._lanes: dict[str, Lane] = {}
        self._stuck = StuckLanes()
        self._results: SimpleQueue[DeliveryResult] = SimpleQueue()
        # What the database has not taken yet.
        self._unrecorded: list[DeliveryResult] = []
        self._unreleased: list[int] = []
        self._renewed_at = monotonic()
        #: When the first of the messages that could not be sent is due again.
        self.retry_at: datetime | None = None
        outbox.sends_here.set()

    def wants_to_run(self, now: datetime) -> bool:
        """Whether there is something to send or to write, as far as this process knows."""
        retries = self.retry_at is not None and self.retry_at <= now
        slow = any(self.is_slow(lane) and lane.waiting for lane in self._lanes.values())
        return outbox.has_new.is_set() or retries or slow or not self._results.empty()

    @property
    def busy(self) -> bool:
        """Whether messages are being sent, or results are not recorded."""
        return bool(self._in_hand)

    def run(self, now: datetime) -> None:
        """Record what was sent, and begin to send what is due."""
        outbox.has_new.clear()
        if self.retry_at is not None and self.retry_at <= now:
            self.retry_at = None
        self.follow(now)
        self.give_up_old(now)
        # Not until nothing is due: meanwhile the loop does nothing else.
        for _ in range(MAX_CLAIMS_PER_ROUND):
            if not self.claim(now):
                return
        outbox.has_new.set()

    def follow(self, now: datetime) -> None:
        """Record what was sent, give up on threads that hang, and keep what is being sent."""
        self.record(now)
        self.release(self.check_lanes())
        self.record(now)
        self.renew(now)

    def record(self, now: datetime) -> None:
        """Write what came of messages; what cannot be written is kept for the next time."""
        self._unrecorded += drained(self._results)
        if not self._unrecorded:
            return
        rows = claims.record_results(str(self.worker.pk), self._unrecorded, now)
        for result in self._unrecorded:
            self._in_hand.pop(result.delivery_id, None)
        self._unrecorded = []
        for row in rows:
            log_result(row)
        again = [row.due_at for row in rows if row.finished_at is None]
        self.retry_at = min([*again, *filter(None, [self.retry_at])], default=None)

    def check_lanes(self) -> list[Delivery]:
        """Give up threads that hang, and forget lanes whose thread has ended.

        Return what slow lanes have not begun: other workers may be faster.
        """
        left = []
        for lane in list(self._lanes.values()):
            if stuck := lane.abandon_since(self.monotonic() - MAX_SENDING_SECONDS):
                self._stuck.add(lane.name, lane.thread, self.monotonic())
                self._results.put(DeliveryResult(stuck.pk, not_sent_within(MAX_SENDING_SECONDS)))
            if self.is_slow(lane):
                left += lane.drop_waiting()
            if lane.closed:
                del self._lanes[lane.name]
        return left

    def is_slow(self, lane: Lane) -> bool:
        return lane.sends_since(self.monotonic() - SLOW_SECONDS)

    def release(self, left: Iterable[Delivery]) -> None:
        """Give back what no thread has begun, or will begin."""
        self._unreleased += [each.pk for each in left]
        if not self._unreleased:
            return
        claims.release_claims(str(self.worker.pk), self._unreleased)
        for pk in self._unreleased:
            self._in_hand.pop(pk, None)
        self._unreleased = []

    def renew(self, now: datetime) -> None:
        """Keep what is being sent from other workers."""
        if self.monotonic() - self._renewed_at >= seconds_between_renewals():
            self._renewed_at = self.monotonic()
            if self._in_hand:
                claims.renew_claims(str(self.worker.pk), list(self._in_hand), now)

    def give_up_old(self, now: datetime) -> None:
        """Give up what is too old in lanes that this worker has left for long."""
        if lanes := self._stuck.hopeless(self.monotonic()):
            for row in claims.give_up_old(lanes, now):
                log_result(row)

    def claim(self, now: datetime) -> bool:
        """Claim what is due, and hand it to its lanes; return whether there may be more."""
        room = self.room()
        if room.total <= 0:
            return False
        claimed = claims.claim_deliveries(str(self.worker.pk), now, room, held=list(self._in_hand))
        for row in claimed.given_up:
            log_result(row)
        self._in_hand |= {row.pk: row for row in claimed.rows}
        if unstarted := [row for row in claimed.rows if not self.hand_over(row)]:
            what = counted(len(unstarted), "message")
            logger.warning("no thread can be started to send %s, trying again later", what)
            self.release(unstarted)
            return False
        return claimed.may_be_more

    def room(self) -> Room:
        """Return what this worker can take: nothing of slow lanes, or of those that are stuck."""
        held = Counter(row.lane for row in self._in_hand.values())
        slow = {name for name, lane in self._lanes.items() if self.is_slow(lane)}
        lanes = {name: MAX_PER_LANE - count for name, count in held.items()}
        suspects = [row for row in self._in_hand.values() if row.losses and row.lane not in slow]
        return Room(
            total=MAX_CLAIMED - len(self._in_hand),
            per_lane=MAX_PER_LANE,
            lanes=lanes | dict.fromkeys(slow | self._stuck.closed(self.monotonic()), 0),
            takes_suspect=not suspects,
        )

    def hand_over(self, delivery: Delivery) -> bool:
        """Give a message to its lane; return False if that needs a thread, and none can start."""
        lane = self._lanes.get(delivery.lane)
        if lane is not None and lane.add(delivery):
            return True
        lane = Lane(delivery.lane, self.finish)
        lane.add(delivery)
        try:
            lane.thread.start()
        except RuntimeError:
            return False
        # Only now: a thread that could not be started cannot be waited for.
        self._lanes[delivery.lane] = lane
        return True

    def finish(self, result: DeliveryResult) -> None:
        """Keep a result for the main loop; called in threads."""
        self._results.put(result)
        self.on_result()

    def close(self, now: datetime, *, seconds: float) -> None:
        """Send what the last runs of this worker have left, for some seconds at most."""
        began = self.monotonic()
        end = began + seconds
        self.follow(now)
        if outbox.has_new.is_set():
            outbox.has_new.clear()
            self.claim(now)
        while self._in_hand and (left := end - self.monotonic()) > 0:
            with suppress(Empty):
                timeout = min(left, seconds_between_renewals())
                self._unrecorded.append(self._results.get(timeout=timeout))
            moment = now + timedelta(seconds=self.monotonic() - began)
            self.record(moment)
            # A lease may be shorter than this wait.
            self.renew(moment)
        self.release_waiting()

    def release_waiting(self) -> None:
        self.release([each for lane in self._lanes.values() for each in lane.drop_waiting()])


def seconds_between_renewals() -> float:
    return app_settings.LEASE / RENEWALS_PER_LEASE


def log_result(row: Delivery) -> None:
    # Not the target: the address of a heartbeat is a secret.
    what = f"message {row.pk} ({row.event}) by {row.lane}"
    if row.task_name:
        what = f"message {row.pk}, the heartbeat ({row.event}) of the task {row.task_name!r},"
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
