"""Keys of what must not be done twice: a run acquires one, and uses it up when it is done."""

from __future__ import annotations

import uuid
from datetime import datetime
from functools import partial

from django.db import models
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.sql.pruning import delete_expired
from scheduled_tasks.models.sql.transactions import (
    MAX_TRIES,
    LockingQuerySet,
    LostRaceError,
    in_transaction,
)
from scheduled_tasks.runtime.once import KEY_LENGTH


class OnceKeyQuerySet(LockingQuerySet["OnceKey"]):
    def acquire(self, wanted: OnceKey, now: datetime) -> bool:
        """Acquire a key unless it is used up or another attempt may still use it; return whether.

        It waits for a transaction that is acquiring the same key, however long that lasts.
        """
        # A token for each try: two blocks of one attempt must not take each other for themselves.
        wanted.token, wanted.taken_at = uuid.uuid4().hex, now
        rows = self.on_primary()
        return in_transaction(partial(acquire_now, rows, wanted), using=rows.db, limited=False)

    def held_as(self, row: OnceKey) -> OnceKeyQuerySet:
        """Keep the row of a key while it is as it was read or written."""
        return self.filter(task_name=row.task_name, key=row.key, token=row.token, final=row.final)

    def prune(self, now: datetime, *, at_most: int) -> int:
        """Delete expired keys that no transaction holds; return how many."""
        return delete_expired(self, now, at_most=at_most)


class OnceKey(models.Model):
    """One key of a task, held by one block of one attempt until it is ``final``.

    Only the block with the ``token`` may finish it. A final key without ``expires_at`` never
    expires.
    """

    task_name = models.CharField(_("task name"), max_length=100)
    key = models.CharField(_("key"), max_length=KEY_LENGTH)
    execution_id = models.BigIntegerField(_("execution"))
    attempt = models.PositiveIntegerField(_("attempt"))
    token = models.CharField(_("token"), max_length=32)
    taken_at = models.DateTimeField(_("taken at"))
    final = models.BooleanField(_("final"), default=False)
    expires_at = models.DateTimeField(_("expires at"), null=True)

    objects = OnceKeyQuerySet.as_manager()

    class Meta:
        """The unique key is what makes it once. No foreign key: keys outlive executions."""

        verbose_name = _("once key")
        verbose_name_plural = _("once keys")
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=["task_name", "key"], name="scheduled_tasks_once"),
        )
        indexes = (
            models.Index(
                fields=["expires_at"],
                name="scheduled_tasks_once_expires",
                condition=models.Q(expires_at__isnull=False),
            ),
        )

    @property
    def holding(self) -> dict[str, object]:
        """The columns that tell the holder, and since when it holds the key."""
        names = ("execution_id", "attempt", "token", "taken_at", "final", "expires_at")
        return {name: getattr(self, name) for name in names}

    def is_free_for(self, wanted: OnceKey) -> bool:
        """Whether it has expired, or is held by an attempt that will not finish it."""
        if self.final:
            return self.expires_at is not None and self.expires_at <= wanted.taken_at
        if self.execution_id == wanted.execution_id:
            # Less, not less or equal: blocks of the same attempt exclude each other as well.
            return self.attempt < wanted.attempt
        holder = Execution.objects.on_primary().unfinished().filter(pk=self.execution_id)
        return not holder.exists()

    def use_up(self, expires_at: datetime | None) -> bool:
        """Make it final until a moment or for ever; return False if another attempt has it."""
        row, using = self.held, self.held.db
        return in_transaction(
            lambda: bool(row.update(final=True, expires_at=expires_at)), using=using, limited=False
        )

    def release(self) -> None:
        """Delete it, unless another attempt has acquired it."""
        row, using = self.held, self.held.db
        in_transaction(row.delete, using=using, limited=False)

    @property
    def held(self) -> OnceKeyQuerySet:
        """The row, while the block with this token holds it."""
        return type(self).objects.on_primary().held_as(self)


def acquire_now(rows: OnceKeyQuerySet, wanted: OnceKey) -> bool:
    """Acquire a key within a transaction, or raise LostRaceError."""
    # The row is read without a lock: a refused caller may be in a long transaction, and the holder
    # of the key has to be able to finish.
    for _again in range(MAX_TRIES):
        rows.bulk_create([wanted], ignore_conflicts=True)
        found = rows.filter(task_name=wanted.task_name, key=wanted.key).first()
        if found is None:
            continue  # it was freed in between
        if found.token == wanted.token:
            return True
        if not found.is_free_for(wanted):
            return False
        if rows.held_as(found).update(**wanted.holding):
            return True
    raise LostRaceError(f"The key {wanted.key!r} changed hands again and again meanwhile.")
