"""What goes beside a run in the calling process: it writes what the run says, and can stop it."""

from __future__ import annotations

import logging
import threading

from django.db import connections

from scheduled_tasks.executors.base import GATHER_MESSAGES
from scheduled_tasks.executors.inline import InlineExecutor
from scheduled_tasks.models import Execution
from scheduled_tasks.models.sql.transactions import AWAY
from scheduled_tasks.worker.result_writer import Collector

logger = logging.getLogger(__name__)


class Companion(threading.Thread):
    """A thread with a connection of its own, for as long as the run goes on."""

    def __init__(self, executor: InlineExecutor, collector: Collector) -> None:
        super().__init__(name="companion", daemon=True)
        self.executor = executor
        self.collector = collector
        self.stirred = threading.Event()
        self._over = threading.Event()

    def run(self) -> None:
        """Write what the run says, at once what it waits for, and look whether it is cancelled."""
        try:
            while not self._over.is_set():
                self.stirred.wait(GATHER_MESSAGES)
                self.stirred.clear()
                self.look()
        finally:
            connections.close_all()

    def look(self) -> None:
        """Do it once; what cannot be written is kept for the next time."""
        try:
            self.collector.collect_messages()
            for cancelled in Execution.objects.asked_to_stop(str(self.collector.worker.pk)):
                self.executor.cancel(*cancelled)
        except AWAY as error:
            logger.debug("what a run says cannot be written just now: %s", error)
        except Exception:
            logger.exception("what a run says cannot be written")

    def leave(self) -> None:
        """Let it end, and wait until it has."""
        self._over.set()
        self.stirred.set()
        self.join()
