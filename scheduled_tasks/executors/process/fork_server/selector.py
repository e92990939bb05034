"""What the fork server listens to: its worker, its children, and their ends."""

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

#: Children are not listened to while the worker has so many bytes to read.
MAX_UNREAD_BYTES = 1 << 22


class Selector:
    """Waits for whatever happens first. ``alarmed`` turns true when a child has ended."""

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
        self.alarmed = False
        self.deaf = False
        self.selector = selectors.DefaultSelector()
        self.alarm, self.alarm_end = os.pipe()
        for descriptor in (self.alarm, self.alarm_end):
            os.set_blocking(descriptor, False)

    def open(
        self, worker: int, *, on_frames: Callable[[], object], on_gone: Callable[[], object]
    ) -> None:
        """Listen to the worker, by the number of its process too, and for children that end.

        A handler that runs in a thread of the worker and forks makes the socket outlive it.
        """
        signal.set_wakeup_fd(self.alarm_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        self.selector.register(self.alarm, selectors.EVENT_READ, self.take_alarm)
        self.selector.register(self.worker, selectors.EVENT_READ, on_frames)
        with suppress(AttributeError, OSError):
            self.worker_process = os.pidfd_open(worker)
            self.selector.register(self.worker_process, selectors.EVENT_READ, on_gone)
        if os.getppid() != worker:
            on_gone()

    def wait(self, seconds: float | None) -> None:
        """Wait so long at most, and call what hears what has come in."""
        for key, _ in self.selector.select(seconds):
            key.data()

    def take_alarm(self) -> None:
        """Note that a child has ended."""
        self.alarmed = True
        with suppress(BlockingIOError):
            os.read(self.alarm, 4096)

    def follow(self, child: ChildHandle) -> None:
        """Listen to a child, unless this is deaf just now."""
        if self.deaf:
            return
        hear = partial(self.on_child, child)
        self.selector.register(child.channel, selectors.EVENT_READ, hear)
        for pipe in child.pipes:
            if pipe.open:
                read = partial(self.on_output, child, pipe)
                self.selector.register(pipe, selectors.EVENT_READ, read)

    def leave(self, child: ChildHandle) -> None:
        """Listen to a child no more."""
        sources: tuple[Channel | OutputPipe, ...] = (child.channel, *child.pipes)
        for source in sources:
            self.leave_source(source)

    def leave_source(self, source: Channel | OutputPipe | int) -> None:
        """Listen to one of the things that can be listened to no more."""
        with suppress(KeyError, ValueError):
            self.selector.unregister(source)

    def lose_worker(self) -> None:
        """Listen to the worker no more."""
        self.leave_source(self.worker)
        self.leave_source(self.worker_process)

    def heed(self, children: Iterable[ChildHandle]) -> None:
        """Be deaf to children while the worker does not keep up with what they say."""
        deaf = len(self.worker.unsent) > MAX_UNREAD_BYTES
        if deaf == self.deaf:
            return
        self.deaf = deaf
        for child in children:
            self.leave(child)
            self.follow(child)

    def close(self) -> None:
        """Close everything, as a forked child must."""
        self.selector.close()
        self.worker.close()
        for descriptor in (self.alarm, self.alarm_end, self.worker_process):
            with suppress(OSError):
                os.close(descriptor)
