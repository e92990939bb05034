"""manage.py people: does what people do, by the app's own functions, as its input tells."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import Error, connections
from django.db.models import QuerySet
from django.utils import timezone

from scheduled_tasks import list_tasks, run_task_now
from scheduled_tasks.lifecycle import requeueing, stopping
from scheduled_tasks.models import Execution
from scheduled_tasks.operations.pauses import pause_all_tasks
from tests.chaos import people
from tests.chaos.people import Deed

PERSON = "person"


class Command(BaseCommand):
    """Reads what to do, writes it down before anybody can know how it went, and answers."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the file to write into."""
        parser.add_argument("deeds", type=Path)

    def handle(self, *args: Any, deeds: Path, **options: Any) -> None:
        """Do one thing for each line of the input."""
        deeds.touch()
        for line in sys.stdin:
            what, pick, seconds = json.loads(line)
            deed = Deed(what=what, begun=time.time(), seconds=seconds)
            try:
                do(deed, pick)
            except Error as error:  # the database is away
                self.stderr.write(f"{what}: {error}")
                connections.close_all()
            deed.ended = time.time()
            with deeds.open("a") as file:
                file.write(f"{json.dumps(asdict(deed))}\n")
            self.stdout.write(f"{what} {deed.execution or ''}" if deed.confirmed else "")
            self.stdout.flush()


def do(deed: Deed, pick: float) -> None:
    """Do one thing, to one of those that there are, and note to whom; do nothing if there is none.

    Whose end is asked for is noted before: the answer may be lost when it was heard.
    """
    match deed.what:
        case people.RUN_NOW:
            if task := chosen(list_tasks().exclude(schedule="").order_by("pk"), pick):
                deed.execution = run_task_now(task, by=PERSON).pk
                deed.confirmed = True
        case people.CANCEL:
            if execution := chosen(Execution.objects.unfinished().order_by("pk"), pick):
                deed.execution = execution.pk
                stopped = stopping.cancel(
                    [execution.pk], timezone.now(), reason="Somebody wanted it."
                )
                deed.confirmed = bool(stopped)
        case people.REQUEUE:
            failed = chosen(Execution.objects.dead().order_by("pk"), pick)
            again = failed and requeueing.requeue(failed.pk, timezone.now(), by=PERSON)
            if again:
                deed.execution, deed.confirmed = again.pk, True
        case people.PAUSE:
            now = timezone.now()
            pause_all_tasks(until=now + timedelta(seconds=deed.seconds), by=PERSON)
            deed.confirmed = True


def chosen(among: QuerySet, pick: float) -> Any:
    """Return one of those that there are, if any."""
    found = list(among)
    return found[int(pick * len(found))] if found else None
