"""A process executor that outlives a test, unless the test has worn it out."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from tests.executors.processes_in_hand import MARK, Hand, end_all, with_mark
from tests.support.processes import database_url


class KeptHand:
    """Lends the same executor to one test after the other.

    A test gets another if the one before has closed it, killed its fork server, given it a lease or
    left something running. Each run has a process of its own, so no run meets another's traces.
    """

    def __init__(self) -> None:
        self.mark = uuid.uuid4().hex
        self.hand: Hand | None = None
        self.server = 0
        self.database = ""

    @contextmanager
    def lent(self) -> Iterator[Hand]:
        """Lend it; afterwards nothing but what waits for the next run is left."""
        if self.database != database_url():
            self.close()  # the first tests may use none, and come before the test database
        hand = self.hand = self.hand or self.opened()
        hand.start_anew()
        try:
            yield hand
        finally:
            if self.is_worn_out(hand):
                self.close()
            else:
                waiting = {self.server, *hand.spares()}
                end_all([each for each in with_mark(self.mark) if each.pid not in waiting])

    def opened(self) -> Hand:
        """Return a new executor, loaded."""
        self.database = database_url()
        hand = Hand(2)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(MARK, self.mark)
            patch.setenv("DJANGO_SETTINGS_MODULE", "tests.support.process_settings")
            hand.executor.open()
        self.server = hand.server_pid
        return hand

    def is_worn_out(self, hand: Hand) -> bool:
        """Whether the next test could tell that another has used it."""
        executor = hand.executor
        is_there = psutil.pid_exists(self.server) and hand.server_pid == self.server
        has_lease = executor._lease_until != float("inf")
        return bool(executor._closed or executor.in_hand or has_lease or not is_there)

    def close(self) -> None:
        """End it and all that it has started."""
        if self.hand is not None:
            self.hand.executor.close()
            self.hand = None
            end_all(with_mark(self.mark))
