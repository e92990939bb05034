"""The two tables of the plain loop, with as little in them as a scheduler can do with."""

from __future__ import annotations

from django.db import models


class PlainTask(models.Model):
    """Something to run every so many seconds."""

    seconds = models.PositiveIntegerField()
    next_run_at = models.DateTimeField(db_index=True)
    last_run_at = models.DateTimeField(null=True)
    payload = models.JSONField()


class PlainExecution(models.Model):
    """One run of it."""

    class Status(models.IntegerChoices):
        """Where it stands."""

        RUNNING = 1
        SUCCESS = 2

    task = models.ForeignKey(PlainTask, on_delete=models.CASCADE)
    slot = models.DateTimeField()
    status = models.PositiveSmallIntegerField(choices=Status.choices, default=Status.RUNNING)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
