"""Locks by name: each held by one process for as long as it renews it, by the database's time."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.models.sql.pruning import delete_expired
from scheduled_tasks.models.sql.transactions import LockingQuerySet, in_transaction
from scheduled_tasks.runtime.once import KEY_LENGTH

#: A new lease may seem this much too long: a statement that waited for the row compares it with a
#: moment before the wait. LIMITS ends the statement earlier.
MARGIN_SECONDS = 30.0


class LockQuerySet(LockingQuerySet["Lock"]):
    """Sets of locks. The moments in them come from the database, so clocks may differ."""

    def acquire(self, wanted: Lock, *, lease: float, longest: float | None = None) -> bool:
        """Acquire a lock for a lease unless another holder has it; return whether it worked.

        ``longest`` is the longest lease that the lock is ever given. One that ends later was given
        before the database's clock went back. It counts as expired.
        """
        rows = self.on_primary()
        acquire = partial(acquire_now, rows, wanted, lease=lease, longest=longest)
        return in_transaction(acquire, using=rows.db)

    def renew(self, held: Lock, *, lease: float) -> bool:
        """Hold a lock for another lease; return False if the caller has lost it."""
        until = Now() + timedelta(seconds=lease)
        rows = self.on_primary().held_as(held)
        return in_transaction(lambda: bool(rows.update(expires_at=until)), using=rows.db)

    def release(self, held: Lock) -> bool:
        """Release a lock; return False if the caller had lost it."""
        rows = self.on_primary().held_as(held)
        return in_transaction(lambda: bool(rows.delete()[0]), using=rows.db)

    def held_as(self, row: Lock) -> LockQuerySet:
        """Keep the row of a lock while it has this token."""
        return self.filter(name=row.name, token=row.token)

    def described(self, name: str) -> str:
        """Return a sentence that names the holder of a lock."""
        holder = self.on_primary().filter(name=name).values_list("holder", flat=True).first()
        return f"The lock {name!r} is held by {holder or 'another holder'}"

    def prune(self, now: datetime, *, at_most: int) -> int:
        """Delete locks that were not released, a day after their lease; return how many."""
        return delete_expired(self, now - timedelta(days=1), at_most=at_most)


class Lock(models.Model):
    """A lock that is held, or was not released by a dead process. Each holding has a ``token``."""

    name = models.CharField(_("name"), max_length=KEY_LENGTH, unique=True)
    token = models.CharField(_("token"), max_length=32)
    holder = models.CharField(_("holder"), max_length=300)
    expires_at = models.DateTimeField(_("expires at"), db_index=True)

    objects = LockQuerySet.as_manager()

    class Meta:
        """The unique name is what excludes."""

        verbose_name = _("lock")
        verbose_name_plural = _("locks")
        default_permissions = ()


def acquire_now(rows: LockQuerySet, wanted: Lock, *, lease: float, longest: float | None) -> bool:
    """Acquire a lock within a transaction: a new one, or one with an expired lease."""
    lock = rows.filter(name=wanted.name)
    others = lock.exclude(token=wanted.token)
    expired = Q(expires_at__lte=Now())
    if longest is not None:
        expired |= Q(expires_at__gt=Now() + timedelta(seconds=longest + MARGIN_SECONDS))
    if others.exclude(expired).exists():
        return False
    until = Now() + timedelta(seconds=lease)
    mine = {"token": wanted.token, "holder": wanted.holder, "expires_at": until}
    if lock.filter(expired).update(**mine):
        return True
    # Another process may insert the same name in between; then the token tells whose it is.
    rows.bulk_create([Lock(name=wanted.name, **mine)], ignore_conflicts=True)
    return lock.filter(token=wanted.token).exists()
