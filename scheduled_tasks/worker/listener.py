"""The thread that wakes a worker when somebody asks for something."""

from __future__ import annotations

import logging
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from django.db import connections, transaction

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models import TaskState
from scheduled_tasks.models.sql.notify import CHANNEL, WAKE, notify
from scheduled_tasks.worker.listen_connection import Line, can_listen, line_to

logger = logging.getLogger(__name__)

#: How often it proves that it still hears, and how long that may take, in seconds.
PROVE_EVERY, LONGEST_PROOF = 60.0, 5.0
#: It wakes the worker at most once in so many seconds, however often it is told to.
GAP = 0.02
#: When it is deaf it tries again, after the first number of seconds up to the second.
FIRST_RETRY, LONGEST_RETRY = 0.5, 300.0
#: How long a stopping worker waits for this thread, which may just be connecting, in seconds.
LONGEST_STOP = 1.0
#: How often a pooler is asked for the process that was left listening, and after how long again.
UNLISTEN_TRIES, UNLISTEN_PAUSE = 20, 0.1


class DeafError(Exception):
    """What was notified on one connection is not heard on another; says what may mend it."""

    def __str__(self) -> str:
        """Return what the log says of it."""
        if app_settings.LISTEN_DSN:
            advice = "Is SCHEDULED_TASKS['LISTEN_DSN'] the address of the same database?"
        else:
            advice = (
                "Behind a pooler, set SCHEDULED_TASKS['LISTEN_DSN'] to the address of PostgreSQL "
                "itself."
            )
        return f"a notification did not come back. {advice}"


class Listener:
    """Calls ``on_wake``, from a thread of its own, when a worker should look for work.

    ``proven`` is true while it is certain to hear: a message that was sent as all others are sent
    has come back, little more than a minute ago. Otherwise the worker depends on polling, as it
    does on every database but PostgreSQL; one warning says why. ``on_wake`` is called as well when
    it hears again, or finds that it does not, for what it may have missed.
    """

    def __init__(self, on_wake: Callable[[], None]) -> None:
        self.on_wake = on_wake
        self._using = ""
        self._proven_until = 0.0
        self._failures = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def proven(self) -> bool:
        """Say whether it is certain to hear.

        A thread that waits for its database for ever says nothing of it, but its proof expires.
        """
        return time.monotonic() < self._proven_until

    def start(self) -> None:
        """Begin to listen where the database of the engine can be listened to."""
        self._using = TaskState.objects.all().write_alias
        if not can_listen(self._using):
            return
        self._interrupt, self._interrupted = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; leave the thread to itself if it does not end soon."""
        self._stop.set()
        if self._thread is not None:
            self._interrupt.close()
            self._thread.join(timeout=LONGEST_STOP)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                try:
                    with line_to(self._using, interruption=self._interrupted) as line:
                        self._listen(line)
                except Exception as error:  # noqa: BLE001 -- whatever it is, polling goes on
                    self._be_deaf(error)
        finally:
            self._proven_until = 0.0
            self._interrupted.close()

    def _listen(self, line: Line) -> None:
        """Hear until it is stopped. Raise DeafError, or what the database raises, when deaf."""
        while not self._stop.is_set():
            if self._prove(line):
                self._be_proven()
                self._hear(line, PROVE_EVERY)
            elif not self._stop.is_set():
                self._give_up(line)

    def _give_up(self, line: Line) -> NoReturn:
        """Say why it is deaf: its line is dead, or was none from the beginning."""
        if self._proven_until:  # even if that is over: it has heard by this line
            raise ConnectionError("its connection has died in silence.")
        self._unlisten(line.backend)
        raise DeafError

    def _prove(self, line: Line) -> bool:
        """Send a message as the engine sends all others; say whether it is heard on this line."""
        token = secrets.token_hex()
        notify(self._using, token)
        connections[self._using].close()
        return self._hear(line, LONGEST_PROOF, until=token)

    def _hear(self, line: Line, seconds: float, *, until: str | None = None) -> bool:
        """Wake the worker when told to, so long or until a message comes; say whether it came."""
        end = time.monotonic() + seconds
        while not self._stop.is_set() and (left := end - time.monotonic()) > 0:
            messages = line.hear(left)
            if WAKE in messages:
                self.on_wake()
            if until in messages:
                return True
            if messages:
                self._stop.wait(GAP)
        return False

    def _be_proven(self) -> None:
        was_proven = self.proven
        self._proven_until = time.monotonic() + PROVE_EVERY + 2 * LONGEST_PROOF
        if not was_proven:
            logger.info("worker hears at once what is asked for")
            self._failures = 0
            self.on_wake()

    def _be_deaf(self, error: Exception) -> None:
        """Note that it does not hear, say so once, and wait until it is time to try again."""
        self._proven_until = 0.0
        connections[self._using].close()
        if self._stop.is_set():
            return
        if not self._failures:
            logger.warning("worker finds new work by polling only, since it is deaf: %s", error)
            self.on_wake()
        longest = LONGEST_RETRY
        if not isinstance(error, DeafError):  # which only people can mend
            longest = min(FIRST_RETRY * 2.0 ** min(self._failures, 30), LONGEST_RETRY)
        self._failures += 1
        self._stop.wait(longest * random.uniform(0.5, 1))  # noqa: S311

    def _unlisten(self, backend: int) -> None:
        """End LISTEN in a process of the server that a pooler has lent to others meanwhile.

        What it hears would be kept by their connections, which do not listen, for ever.
        """
        for _ in range(UNLISTEN_TRIES):
            with transaction.atomic(using=self._using), connections[self._using].cursor() as cursor:
                cursor.execute(f"UNLISTEN {CHANNEL}")
                cursor.execute("SELECT pg_backend_pid()")
                (reached,) = cursor.fetchone()
            if reached == backend or self._stop.wait(UNLISTEN_PAUSE):
                break
