"""The processes that run executions, with their heartbeats."""

from __future__ import annotations

import os
import socket
import uuid
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Self

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.models.sql.transactions import LockingQuerySet

#: The id of no worker.
NO_WORKER = uuid.UUID(int=0)


class WorkerQuerySet(LockingQuerySet["Worker"]):
    def prune(self, now: datetime) -> int:
        """Delete those that stopped or were lost more than a day ago; return how many."""
        long_ago = now - timedelta(days=1)
        return self.filter(state__in=Worker.GONE, heartbeat_at__lt=long_ago).delete()[0]

    def supersedes(self, digest: str, now: datetime, *, within: float) -> bool:
        """Return whether a live worker has newer declarations than this digest.

        Declarations that were announced later are newer: while old and new code run side by side,
        the old code must not overwrite the declarations of the new.
        """
        # Live workers are read first: a worker that starts in between is then missing here, not
        # in ``first``.
        live = set(self.live(now, within=within).values_list("declaration_digest", flat=True))
        first = dict(
            self.exclude(declaration_digest="")
            .values_list("declaration_digest")
            .annotate(first=models.Min("started_at"))
        )
        mine = first.get(digest)
        return mine is not None and any(first[other] > mine for other in live if other in first)

    def live(self, now: datetime, *, within: float) -> Self:
        """Keep those with a heartbeat in the last ``within`` seconds that have not stopped."""
        return self.exclude(state__in=Worker.GONE).filter(
            heartbeat_at__gt=now - timedelta(seconds=within)
        )

    def schedulers(self) -> Self:
        """Leave out the rows of ``runtask``, which neither fires nor claims."""
        # What announces no declarations is no scheduler. Its label can be chosen, this cannot.
        return self.exclude(declaration_digest="")

    def database_time(self) -> datetime:
        """Return the time of the database, whether or not there is a worker."""
        # An aggregate has a row even where nothing is found.
        found = self.filter(pk=NO_WORKER).aggregate(now=models.Max("heartbeat_at", default=Now()))
        moment: datetime = found["now"]
        return moment


class Worker(models.Model):
    """One running scheduler process. Its id is random, so a restarted process is a new worker."""

    class State(models.TextChoices):
        """What a worker is doing."""

        RUNNING = "running", _("running")
        STOPPING = "stopping", _("stopping")
        STOPPED = "stopped", _("stopped")
        LOST = "lost", _("lost")

    GONE = (State.STOPPED, State.LOST)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    label = models.CharField(_("label"), max_length=200)
    host = models.CharField(_("host"), max_length=255)
    pid = models.PositiveIntegerField(_("process id"))
    version = models.CharField(_("version"), max_length=20)
    state = models.CharField(
        _("state"), max_length=10, choices=State.choices, default=State.RUNNING
    )
    started_at = models.DateTimeField(_("started at"), db_default=Now())
    heartbeat_at = models.DateTimeField(_("last heartbeat"), db_default=Now())
    queues = models.JSONField(_("queues"), default=list)
    concurrency = models.PositiveIntegerField(_("concurrency"), default=1)
    declaration_digest = models.CharField(_("declarations"), max_length=32, blank=True)
    handlers = models.JSONField(_("handlers"), default=list)

    objects = WorkerQuerySet.as_manager()

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")
        ordering = ("-heartbeat_at",)
        default_permissions = ("view",)

    def __str__(self) -> str:
        return self.label

    @classmethod
    def of_this_process(cls, *, label: str = "") -> Worker:
        """Build the row of the calling process; the caller fills in the rest and saves it."""
        host, pid = socket.gethostname(), os.getpid()
        return cls(
            label=label or f"{host}:{pid}", host=host, pid=pid, version=version("scheduled-tasks")
        )

    def database_time(self) -> datetime | None:
        """Return the time of the database, None if this worker was given up as lost."""
        # Read, and written back by ``beat``, because SQLite's own now() is text of another
        # precision than Django's, and the two are never equal.
        return self.alive.values_list(Now(), flat=True).first()

    def beat(self, moment: datetime) -> bool:
        """Write a heartbeat; return False if this worker was given up as lost."""
        return bool(self.alive.update(heartbeat_at=moment))

    @property
    def alive(self) -> WorkerQuerySet:
        """The row of this worker, unless it was given up: others may run its executions."""
        return type(self).objects.on_primary().filter(pk=self.pk).exclude(state=self.State.LOST)

    def move_to(self, state: str) -> None:
        """Set the state, unless this worker was given up as lost."""
        self.alive.update(state=state)
        self.state = state
