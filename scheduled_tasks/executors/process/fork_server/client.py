"""The worker's side of a fork server: starts it, talks with it, sees it dead."""

from __future__ import annotations

import logging
import os
import queue
import select
import socket
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import psutil

from scheduled_tasks.executors.process.fork_server.interpreter import command
from scheduled_tasks.executors.process.fork_server.liveness import LivenessMonitor
from scheduled_tasks.executors.process.wire import BrokenStreamError, Channel, Frame

logger = logging.getLogger(__name__)

#: In the environment of a fork server, and so of all that comes from it, unless that empties it.
MARK = "SCHEDULED_TASKS_FORK_SERVER"
#: How long a fork server may take to end once its worker has let go of it, in seconds.
STOP_TIMEOUT_SECONDS = 10.0
#: How often what a killed fork server has left behind is looked for, a second apart if any.
MAX_SWEEPS = 10


class ForkServerProcess:
    """One fork server. A thread of the worker's talks with it.

    It reads while ``listens`` says so; whoever changes that rings. In that thread ``on_frame`` is
    called with what the server says, ``on_gone`` when nothing reaches it any more, and ``on_end``
    when it is dead and all that came from it too, which can take seconds longer.
    """

    def __init__(
        self,
        setup: Mapping[str, Any],
        *,
        listens: Callable[[], bool],
        on_frame: Callable[[Frame], None],
        on_gone: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        self.setup = setup
        self.listens = listens
        self.on_frame = on_frame
        self.on_gone = on_gone
        self.on_end = on_end
        self.liveness = LivenessMonitor()
        self.closing = False
        self.gone = False
        self._mark = uuid.uuid4().hex
        self._posted: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        self._leaving: Frame | None = None
        self._wake, self._wake_end = socket.socketpair()
        self._thread = threading.Thread(target=self._talk, name="fork-server", daemon=True)

    def start(self) -> None:
        """Start the process, in a session of its own: Ctrl-C in a terminal is for the worker."""
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        with theirs, self._closed_on_failure():
            self.process = subprocess.Popen(  # noqa: S603 -- this interpreter
                command(stream=theirs.fileno()),
                env={**os.environ, MARK: self._mark},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self.channel.send(self.setup)
        self._thread.start()

    @contextmanager
    def _closed_on_failure(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            self._close_ends()
            raise

    def post(self, frame: Frame) -> None:
        """Send a frame, once the server is loaded; safe from any thread."""
        if frame["kind"] == "lease":
            self.liveness.expect_echo()
        self._posted.put(frame)
        self.ring()

    def check(self, lease: float) -> None:
        """Kill it if it hangs: if it does not load, or has owed echoes for a whole lease."""
        if self.gone:
            return
        if why := self.liveness.check(lease=lease, listens=self.listens()):
            logger.error("the fork server hangs and is killed: %s", why)
            self.gone = True
            self.process.kill()
            self.ring()

    def unsent(self) -> list[Frame]:
        """Return what was posted and did not reach the server whole. Ask when it has ended."""
        left = [self._leaving] if self._leaving and self.channel.unsent else []
        while not self._posted.empty():
            left.append(self._posted.get())
        return left

    def close(self) -> None:
        """Let go of it, so that it ends its runs and itself, and wait until it has."""
        self.closing = True
        self.ring()
        if self._thread.ident is not None:
            self._thread.join()

    def ring(self) -> None:
        """Have the thread look whether there is something to send, or whether it may listen."""
        with suppress(OSError):
            self._wake.send(b"!", socket.MSG_DONTWAIT)

    def _talk(self) -> None:
        try:
            while not (self.closing or self.gone) and self._hear():
                pass
        except Exception:
            logger.exception("what the fork server said could not be understood")
        self.gone = True
        self.on_gone()
        self.channel.close()
        self._see_dead()
        self._close_ends()
        self.on_end()

    def _close_ends(self) -> None:
        for end in (self.channel, self._wake, self._wake_end):
            end.close()

    def _hear(self) -> bool:
        """Send what is posted and hear what is said; say whether the server is still there."""
        try:
            self._send()
            frames = self.channel.receive() if self._wait() else []
        except (OSError, BrokenStreamError):
            return False
        for frame in frames or ():
            if frame["kind"] in ("ready", "lease"):
                self.liveness.heard_from()
            if frame["kind"] != "lease":
                self.on_frame(frame)
        return frames is not None

    def _send(self) -> None:
        """Send what is posted, each frame by itself: so it is known what has not left."""
        self.channel.flush()
        while self.liveness.loaded and not (self.channel.unsent or self._posted.empty()):
            self._leaving = self._posted.get()
            self.channel.send(self._leaving)
            self.channel.flush()

    def _wait(self) -> bool:
        """Wait for something to do; say whether there is something to hear."""
        poll = select.poll()
        poll.register(self._wake_end, select.POLLIN)
        wanted = select.POLLIN if self.listens() else 0
        poll.register(self.channel, wanted | (select.POLLOUT if self.channel.unsent else 0))
        ready = dict(poll.poll())
        if self._wake_end.fileno() in ready:
            self._wake_end.recv(4096)
        return bool(ready.get(self.channel.fileno(), 0) & ~select.POLLOUT)

    def _see_dead(self) -> None:
        """Wait for the server; kill it where it does not end, and all that came from it."""
        try:
            self.process.wait(STOP_TIMEOUT_SECONDS if self.closing else 0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for _ in range(MAX_SWEEPS):
            found = [process for process in psutil.process_iter() if self._is_ours(process)]
            if not found:
                break
            for process in found:
                with suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(found, timeout=1)

    def _is_ours(self, process: psutil.Process) -> bool:
        """Say whether a process comes from the server: by its session, or by its environment."""
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            in_session = os.getsid(process.pid) == self.process.pid
            return in_session or process.environ().get(MARK) == self._mark
        except (psutil.Error, OSError):
            return False
