"""The thread that sends the messages of one receiver, or of several that hang together."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from django.db import close_old_connections, connections

from scheduled_tasks.exceptions import PartlySent, PermanentError
from scheduled_tasks.executors.connections import drop_open_transactions, open_transactions
from scheduled_tasks.models import Delivery
from scheduled_tasks.monitoring.notifiers.errors import error_text
from scheduled_tasks.monitoring.outbox.claims import DeliveryResult
from scheduled_tasks.monitoring.outbox.sending import UnknownSender, send
from scheduled_tasks.runtime.sanitizing import safe_str, sanitized_text

logger = logging.getLogger(__name__)


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

    def sends_since(self, moment: float) -> bool:
        """Whether it has been sending one message since a moment or longer."""
        with self._lock:
            return self.current is not None and self.since <= moment

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

    def _run(self) -> None:
        try:
            while (delivery := self._next()) is not None:
                result = result_of(delivery)
                clean_up(delivery)
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
        with forks_ended():
            send(delivery)
    except PartlySent as error:
        # Whatever a notifier of the project has written there.
        left = [sanitized_text(safe_str(each)) for each in error.left]
        said, refused = error_text(error) if left else "", safe_str(error.refused)
        return DeliveryResult(delivery.pk, said, note=refused, left=left)
    except BaseException as error:  # noqa: BLE001 -- also sys.exit() in a project's own notifier
        return DeliveryResult(
            delivery.pk,
            error_text(error),
            permanent=isinstance(error, PermanentError),
            unknown=isinstance(error, UnknownSender),
        )
    return DeliveryResult(delivery.pk)


def clean_up(delivery: Delivery) -> None:
    """Leave no transaction and no broken connection to the next message in this thread."""
    try:
        for alias in [alias for alias, depth in open_transactions().items() if depth]:
            logger.warning(
                "%s has left a transaction open in the database %r. It is rolled back, with all "
                "that was written in it. Commit it, or use `with transaction.atomic():`.",
                delivery.lane,
                alias,
            )
        drop_open_transactions()
        close_old_connections()
    except Exception:
        logger.exception("the connections of %s cannot be closed, new ones follow", delivery.lane)
        for connection in connections.all(initialized_only=True):
            del connections[connection.alias]


@contextmanager
def forks_ended() -> Iterator[None]:
    """End a process that is forked in the block as it leaves it: the lane is its parent's."""
    owner, code = os.getpid(), 1
    try:
        yield
        code = 0
    except SystemExit as error:
        code = 1 if error.code else 0
        raise
    finally:
        if os.getpid() != owner:
            # Not sys.exit(), which ends the thread only, and only after what follows here.
            os._exit(code)
