"""The worker's side of a fork server: starts it, exchanges frames, and makes sure it dies."""

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

from scheduled_tasks.executors.process import operating_system
from scheduled_tasks.executors.process.fork_server.interpreter import command
from scheduled_tasks.executors.process.fork_server.liveness import LivenessMonitor
from scheduled_tasks.executors.process.wire import Channel, Frame

logger = logging.getLogger(__name__)

#: A variable in the environment of a fork server, inherited by all processes that come from it.
MARK = "SCHEDULED_TASKS_FORK_SERVER"
#: How long a fork server may take to exit after its worker has closed the connection.
STOP_TIMEOUT_SECONDS = 10.0
#: How many times the processes that a dead fork server has left behind are killed.
MAX_SWEEPS = 10


class ForkServerProcess:
    """One fork server, and the thread of the worker that exchanges frames with it.

    The thread reads while ``may_receive`` returns True; call ``wake`` when that changes. It calls
    ``on_frame`` with each frame, ``on_gone`` when the server cannot be reached any more, and
    ``on_end`` when the server and everything that came from it is dead, possibly seconds later.
    """

    def __init__(
        self,
        setup: Mapping[str, Any],
        *,
        may_receive: Callable[[], bool],
        on_frame: Callable[[Frame], None],
        on_gone: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        self.setup = setup
        self.may_receive = may_receive
        self.on_frame = on_frame
        self.on_gone = on_gone
        self.on_end = on_end
        self.liveness = LivenessMonitor()
        self.closing = False
        self.gone = False
        self._mark = uuid.uuid4().hex
        self._posted: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        self._sending: Frame | None = None
        self._waker, self._wake_end = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="fork-server", daemon=True)

    def start(self) -> None:
        """Start the process in its own session: Ctrl-C in a terminal is for the worker."""
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
        self.wake()

    def check(self, lease: float) -> None:
        """Kill it if it hangs: if it does not load, or echoes no lease for a whole lease."""
        if self.gone:
            return
        if why := self.liveness.check(lease=lease, receiving=self.may_receive()):
            logger.error("the fork server hangs and is killed: %s", why)
            self.gone = True
            self.process.kill()
            self.wake()

    def unsent_frames(self) -> list[Frame]:
        """Return the frames that did not reach the server. To be called after its end."""
        # A frame that was sent in part has not been received.
        left = [self._sending] if self._sending and self.channel.unsent else []
        while not self._posted.empty():
            left.append(self._posted.get())
        return left

    def close(self) -> None:
        """Close the connection, so that it kills its runs and exits, and wait for that."""
        self.closing = True
        self.wake()
        if self._thread.ident is not None:
            self._thread.join()

    def wake(self) -> None:
        """Make the thread check for frames to send, and whether it may receive."""
        with suppress(OSError):
            # If the buffer is full, the thread is going to wake up anyway.
            self._waker.send(b"!", socket.MSG_DONTWAIT)

    def _run(self) -> None:
        try:
            while not (self.closing or self.gone) and self._exchange():
                pass
        except Exception:
            logger.exception("a frame from the fork server could not be processed")
        self.gone = True
        self.on_gone()
        # A server that is alive takes this as its sign to exit.
        self.channel.close()
        self._ensure_dead()
        self._close_ends()
        self.on_end()

    def _close_ends(self) -> None:
        for end in (self.channel, self._waker, self._wake_end):
            end.close()

    def _exchange(self) -> bool:
        """Send what is posted and receive frames. Return whether the server is still there."""
        try:
            self._send()
            frames = self.channel.receive() if self._wait() else []
        except OSError:
            return False
        for frame in frames or ():
            if frame["kind"] in ("ready", "lease"):
                self.liveness.heard_from()
            if frame["kind"] != "lease":
                self.on_frame(frame)
        return frames is not None and not self.channel.decoder.flaw

    def _send(self) -> None:
        """Send the posted frames one by one, so that it is known which were not sent."""
        self.channel.flush()
        while self.liveness.loaded and not (self.channel.unsent or self._posted.empty()):
            self._sending = self._posted.get()
            self.channel.send(self._sending)
            self.channel.flush()

    def _wait(self) -> bool:
        """Wait for something to do. Return whether there is something to receive."""
        poll = select.poll()
        poll.register(self._wake_end, select.POLLIN)
        # With 0, poll() still reports that the server has hung up.
        wanted = select.POLLIN if self.may_receive() else 0
        poll.register(self.channel, wanted | (select.POLLOUT if self.channel.unsent else 0))
        ready = dict(poll.poll())
        if self._wake_end.fileno() in ready:
            self._wake_end.recv(4096)
        return bool(ready.get(self.channel.fileno(), 0) & ~select.POLLOUT)

    def _ensure_dead(self) -> None:
        """Wait for the server, kill it if it does not exit, and kill all that came from it."""
        try:
            self.process.wait(STOP_TIMEOUT_SECONDS if self.closing else 0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        # A process may fork just before it is killed.
        for _ in range(MAX_SWEEPS):
            killed = [process for process in operating_system.processes() if self._kill(process)]
            if not killed:
                break
            psutil.wait_procs(killed, timeout=1)

    def _kill(self, process: psutil.Process) -> bool:
        """Kill a process if it comes from the server; return whether that was possible."""
        if not self._is_ours(process):
            return False
        try:
            process.kill()
        except psutil.Error:  # it has ended, or runs as another user
            return False
        return True

    def _is_ours(self, process: psutil.Process) -> bool:
        """Whether a process comes from the server, by its session or its environment."""
        try:
            # It is dead already, and only its parent can remove it.
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            in_session = os.getsid(process.pid) == self.process.pid
            return in_session or process.environ().get(MARK) == self._mark
        except (psutil.Error, OSError):
            return False
