"""What a worker does with messages of the outbox, each time in a transaction of its own.

It claims messages, renews its claims, gives some of them back, and writes what came of the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import F

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models.delivery import Delivery, DeliveryQuerySet
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.transactions import transactional
from scheduled_tasks.runtime.sanitizing import redacted_text
from scheduled_tasks.runtime.wording import duration

#: The due messages that one claim looks at.
MAX_READ = 1_000
#: A message is given up when this many claims in a row have ended without a result.
MAX_LOSSES = 5
DIED = f"The worker died {MAX_LOSSES} times while it was being sent."
#: The delay before the next attempt doubles from one second up to this one.
MAX_RETRY_SECONDS = 300.0
#: After this time a message is given up.
GIVE_UP_AFTER = timedelta(hours=24)
HUNG = f"It was due for {duration(GIVE_UP_AFTER.total_seconds())}, while its receiver hung."
#: The delay has reached its maximum after as many attempts; no message is given up before.
MAX_DOUBLINGS = 9


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """What came of an attempt to send a message; ``error`` is "" if it was delivered.

    ``permanent`` is an error for which no other attempt helps. ``unknown`` is one that only workers
    with other code or settings may not have.
    ``left`` are those to send it to again if it was delivered to others. ``note`` is who will never
    get it.
    """

    delivery_id: int
    error: str = ""
    permanent: bool = False
    unknown: bool = False
    note: str = ""
    left: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How many messages a worker takes: in all, of each lane, and of some lanes fewer.

    Of suspects, which a worker did not finish, it takes one at a time: if it dies of that one, no
    other suspect has been lost with it.
    """

    total: int
    per_lane: int
    lanes: Mapping[str, int] = field(default_factory=dict)
    takes_suspect: bool = True

    @property
    def full_lanes(self) -> list[str]:
        """The lanes without room for another message."""
        return [lane for lane, left in self.lanes.items() if left <= 0]


class DueMessage(NamedTuple):
    """What a claim reads of a message."""

    pk: int
    lane: str
    losses: int
    claimed_until: datetime | None

    @property
    def is_suspect(self) -> bool:
        """Whether a worker did not finish it: it may have died of it."""
        return self.losses > 0 or self.claimed_until is not None

    @property
    def is_lost_for_good(self) -> bool:
        """Whether the last claim that it may have has run out."""
        return self.claimed_until is not None and self.losses + 1 >= MAX_LOSSES


@dataclass(frozen=True, slots=True)
class ClaimedDeliveries:
    """The messages that were claimed, with their alerts, and those that were given up.

    ``may_be_more`` is whether other lanes may have messages that were not looked at.
    """

    rows: list[Delivery]
    given_up: list[Delivery]
    may_be_more: bool


@transactional
def claim_deliveries(
    worker: str, now: datetime, room: Room, *, held: Collection[int] = (), using: str = ""
) -> ClaimedDeliveries:
    """Claim messages that are due, the oldest first, as far as there is room.

    Those ``held`` are being sent by this worker: after a standstill its claims may have run out.
    """
    due = without(Delivery.objects.using(using).due(now), room, held)
    columns = due.in_order().values_list(*DueMessage._fields)
    found = [DueMessage(*row) for row in columns[:MAX_READ]]
    lost = [each.pk for each in found if each.is_lost_for_good]
    given_up = give_up(lost, now, DIED, using=using, losses=MAX_LOSSES)
    picked = pick([each for each in found if not each.is_lost_for_good], room)
    rows = claim_free(worker, picked, now, using=using) if picked else []
    return ClaimedDeliveries(rows, given_up, len(found) == MAX_READ)


def without(due: DeliveryQuerySet, room: Room, held: Collection[int]) -> DeliveryQuerySet:
    """Leave out what there is no room for, and what is held."""
    if room.full_lanes:
        due = due.exclude(AnyOf("lane", room.full_lanes))
    if held:
        due = due.exclude(AnyOf("pk", held))
    return due if room.takes_suspect else due.filter(losses=0, claimed_until=None)


def pick(found: Iterable[DueMessage], room: Room) -> list[int]:
    """Choose as many messages as there is room for, in order; return their ids."""
    picked: list[int] = []
    taken: Counter[str] = Counter()
    takes_suspect = room.takes_suspect
    for each in found:
        if len(picked) >= room.total:
            break
        has_room = taken[each.lane] < room.lanes.get(each.lane, room.per_lane)
        if has_room and (takes_suspect or not each.is_suspect):
            takes_suspect = takes_suspect and not each.is_suspect
            taken[each.lane] += 1
            picked.append(each.pk)
    return picked


def claim_free(worker: str, ids: Collection[int], now: datetime, *, using: str) -> list[Delivery]:
    """Claim those of these messages that no other worker has claimed meanwhile."""
    rows = Delivery.objects.using(using)
    free = rows.due(now).filter(AnyOf("pk", ids)).locked(skip=True)
    ours = rows.filter(AnyOf("pk", list(free.values_list("pk", flat=True))))
    until = end_of_claim(now)
    claim = {"claimed_by": worker, "claimed_until": until, "attempts": F("attempts") + 1}
    # Guarded, because not every database can lock rows.
    ours.pending().filter(claimed_until=None).update(**claim)
    ours.pending().filter(claimed_until__lte=now).update(**claim, losses=F("losses") + 1)
    claimed = ours.filter(claimed_by=worker, claimed_until=until)
    # What has failed is due later: in its lane it comes after what has never been tried.
    return list(claimed.select_related("alert", "alert__task").in_order())


@transactional
def give_up_old(lanes: Collection[str], now: datetime, *, using: str = "") -> list[Delivery]:
    """Give up what has been due for 24 hours in lanes that a worker has left; return the rows.

    Not what was written long ago: something may have held it back.
    """
    rows = Delivery.objects.using(using).unclaimed(now)
    old = rows.filter(AnyOf("lane", list(lanes)), due_at__lte=now - GIVE_UP_AFTER).in_order()
    return give_up(list(old.values_list("pk", flat=True)[:MAX_READ]), now, HUNG, using=using)


def give_up(
    ids: Collection[int], now: datetime, error: str, *, using: str, losses: int = 0
) -> list[Delivery]:
    """Give up messages that are not being sent; return the rows."""
    if not ids:
        return []
    rows = Delivery.objects.using(using).unclaimed(now)
    given_up = []
    for row in rows.filter(AnyOf("pk", ids)).locked(skip=True):
        row.finished_at, row.claimed_until = now, None
        row.losses, row.error = max(row.losses, losses), after(row.refused, error)
        if rows.filter(pk=row.pk).update(**{name: getattr(row, name) for name in GIVEN_UP_FIELDS}):
            given_up.append(row)
    return given_up


GIVEN_UP_FIELDS = ("finished_at", "claimed_until", "losses", "error")


def end_of_claim(now: datetime) -> datetime:
    """Return until when a worker has a message for itself, unless it renews that.

    Others take it over no later than the runs of a worker that has died.
    """
    return now + timedelta(seconds=app_settings.LEASE)


def claimed_by(worker: str, ids: Collection[int], *, using: str) -> DeliveryQuerySet:
    """Return those of these messages that are this worker's, whether or not a claim has run out."""
    pending = Delivery.objects.using(using).pending()
    return pending.filter(AnyOf("pk", ids), claimed_by=worker)


@transactional
def renew_claims(worker: str, ids: Collection[int], now: datetime, *, using: str = "") -> None:
    """Keep messages that are still being sent."""
    claimed_by(worker, ids, using=using).update(claimed_until=end_of_claim(now))


@transactional
def release_claims(worker: str, ids: Collection[int], *, using: str = "") -> None:
    """Give back messages that were claimed and not tried."""
    # Not twice: a COMMIT whose answer was lost may have succeeded.
    held = claimed_by(worker, ids, using=using).filter(claimed_until__isnull=False)
    held.update(claimed_until=None, attempts=F("attempts") - 1)


@transactional
def record_results(
    worker: str, results: Sequence[DeliveryResult], now: datetime, *, using: str = ""
) -> list[Delivery]:
    """Write what came of messages; return the rows that were written.

    What another worker has claimed meanwhile is left to it.
    """
    by_id = {result.delivery_id: result for result in results}
    rows = list(claimed_by(worker, list(by_id), using=using).locked())
    for row in rows:
        apply_result(row, by_id[row.pk], now)
        row.save(using=using, update_fields=RESULT_FIELDS)
    return rows


RESULT_FIELDS = ("claimed_until", "finished_at", "delivered", "error", "due_at", "losses", "body")


def apply_result(row: Delivery, result: DeliveryResult, now: datetime) -> None:
    row.claimed_until, row.losses = None, 0
    refused = after(row.refused, result.note)
    if not result.error:
        row.finished_at, row.delivered, row.error = now, True, refused
        return
    row.error = after(row.refused, result.error)
    if result.left:
        row.body = {"left": list(result.left), "refused": refused}
    doublings = min(row.attempts - 1, MAX_DOUBLINGS)
    wait = timedelta(seconds=min(2.0**doublings, MAX_RETRY_SECONDS))
    if result.permanent or is_hopeless(row, result, now, wait):
        row.finished_at = now
    else:
        row.due_at = now + wait


def is_hopeless(row: Delivery, result: DeliveryResult, now: datetime, wait: timedelta) -> bool:
    """Whether a message has been tried for long enough."""
    age = now - row.created_at
    # As for handlers: in a rolling deploy, old workers claim what new ones write.
    if result.unknown and age >= timedelta(seconds=app_settings.HANDLER_GRACE):
        return True
    # What was held back for longer than that has its attempts, too.
    return age + wait > GIVE_UP_AFTER and row.attempts > MAX_DOUBLINGS


def after(earlier: str, text: str) -> str:
    """Return a text, after what an earlier attempt has left to be said."""
    return redacted_text(" ".join(filter(None, (earlier, text))))
