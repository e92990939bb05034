"""What the fork server waits for: its worker, its children, and the ends of children."""

from __future__ import annotations

import os
import selectors
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

from scheduled_tasks.executors.process.fork_server.child_handle import ChildHandle
from scheduled_tasks.executors.process.fork_server.output_pipe import OutputPipe
from scheduled_tasks.executors.process.wire import Channel

#: Children are not read while the worker has more unread bytes than this.
MAX_UNREAD_BYTES = 1 << 22


class Selector:
    """Waits for the first event and calls its callback. ``child_ended`` is set by SIGCHLD."""

    def __init__(
        self,
        worker: Channel,
        *,
        on_child: Callable[[ChildHandle], object],
        on_output: Callable[[ChildHandle, OutputPipe], object],
    ) -> None:
        self.worker = worker
        self.on_child = on_child
        self.on_output = on_output
        self.worker_process = -1
        self.child_ended = False
        self.paused = False
        self.selector = selectors.DefaultSelector()
        self.signal_reader, self.signal_writer = os.pipe()
        for descriptor in (self.signal_reader, self.signal_writer):
            os.set_blocking(descriptor, False)

    def open(
        self, worker_pid: int, *, on_frames: Callable[[], object], on_gone: Callable[[], object]
    ) -> None:
        """Watch the worker and the ends of children.

        The worker's process is watched as well as its socket: a handler that forks in a thread of
        the worker leaves the socket open after the worker has died.
        """
        signal.set_wakeup_fd(self.signal_writer, warn_on_full_buffer=False)
        # It does nothing, but without a handler in Python nothing is written to the pipe.
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        self.selector.register(self.signal_reader, selectors.EVENT_READ, self.receive_signal)
        self.selector.register(self.worker, selectors.EVENT_READ, on_frames)
        with suppress(AttributeError, OSError):
            self.worker_process = os.pidfd_open(worker_pid)
            self.selector.register(self.worker_process, selectors.EVENT_READ, on_gone)
        # It may have died before it was watched.
        if os.getppid() != worker_pid:
            on_gone()

    def wait(self, seconds: float | None) -> None:
        """Wait at most this many seconds and call the callbacks of what is ready."""
        for key, _ in self.selector.select(seconds):
            key.data()

    def receive_signal(self) -> None:
        """Record that a child has ended."""
        self.child_ended = True
        with suppress(BlockingIOError):
            os.read(self.signal_reader, 4096)

    def watch(self, child: ChildHandle) -> None:
        """Watch a child, unless children are paused."""
        if self.paused:
            return
        on_frames = partial(self.on_child, child)
        self.selector.register(child.channel, selectors.EVENT_READ, on_frames)
        self.watch_pipes(child)

    def watch_pipes(self, child: ChildHandle) -> None:
        """Watch the pipes of a child that are awaited, unless children are paused."""
        for pipe in child.pipes:
            if pipe.open and pipe.awaited and not self.paused:
                on_output = partial(self.on_output, child, pipe)
                with suppress(KeyError):  # it is watched already
                    self.selector.register(pipe, selectors.EVENT_READ, on_output)

    def unwatch(self, child: ChildHandle) -> None:
        sources: tuple[Channel | OutputPipe, ...] = (child.channel, *child.pipes)
        for source in sources:
            self.remove(source)

    def unwatch_worker(self) -> None:
        self.remove(self.worker)
        self.remove(self.worker_process)

    def remove(self, source: Channel | OutputPipe | int) -> None:
        """Stop watching one socket, pipe or descriptor, if it is watched."""
        with suppress(KeyError, ValueError):
            self.selector.unregister(source)

    def apply_backpressure(self, children: Iterable[ChildHandle]) -> None:
        """Pause children while the worker does not keep up with their messages."""
        paused = len(self.worker.unsent) > MAX_UNREAD_BYTES
        if paused == self.paused:
            return
        self.paused = paused
        for child in children:
            self.unwatch(child)
            self.watch(child)

    def close(self) -> None:
        """Close everything, as a forked child must."""
        self.selector.close()
        self.worker.close()
        for descriptor in (self.signal_reader, self.signal_writer, self.worker_process):
            with suppress(OSError):
                os.close(descriptor)
