"""The two ways to make a child: fork the server, or start a fresh interpreter."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from scheduled_tasks.executors.process.fork_server.child import ChildProcess
from scheduled_tasks.executors.process.fork_server.child_handle import ChildHandle, trace_file
from scheduled_tasks.executors.process.fork_server.interpreter import command
from scheduled_tasks.executors.process.fork_server.output_pipe import OutputPipe
from scheduled_tasks.executors.process.wire import Channel, Frame, limits_of_run
from scheduled_tasks.runtime.logs.printed_output import DESCRIPTORS


class Server(Protocol):
    """What a forked child needs from the server that it was forked from."""

    def close_in_child(self) -> None:
        """Close what only the server may hold."""


Spawn = Callable[[Server], ChildHandle]


@dataclass(frozen=True, slots=True)
class ChildEndpoints:
    """Both ends of everything that connects a child: the server's, and the child's."""

    stream: socket.socket
    child_stream: socket.socket
    stop_pipe: int
    child_stop_pipe: int
    trace: int
    pipes: dict[str, int]
    child_pipes: dict[str, int]

    def child(self, pid: int) -> ChildHandle:
        pipes = [OutputPipe(name, descriptor) for name, descriptor in self.pipes.items()]
        channel = Channel(self.stream, limits_of_run())
        return ChildHandle(pid, channel, self.stop_pipe, self.trace, pipes)


@contextmanager
def open_endpoints() -> Iterator[ChildEndpoints]:
    """Open all ends. Close the child's afterwards, and the server's too if no child was made."""
    with ExitStack() as ends, ExitStack() as ours:
        stream, child_stream = socket.socketpair()
        ours.callback(stream.close)
        ends.callback(child_stream.close)
        child_stop_pipe, stop_pipe = pipe(ends, ours)
        pipes, child_pipes = {}, {}
        for name in DESCRIPTORS:
            pipes[name], child_pipes[name] = pipe(ours, ends)
        trace = trace_file()
        ours.callback(os.close, trace)
        yield ChildEndpoints(
            stream, child_stream, stop_pipe, child_stop_pipe, trace, pipes, child_pipes
        )
        ours.pop_all()


def pipe(reading: ExitStack, writing: ExitStack) -> tuple[int, int]:
    """Open a pipe whose two ends are closed by these stacks."""
    ends = os.pipe()
    for stack, end in zip((reading, writing), ends, strict=True):
        stack.callback(os.close, end)
    return ends


def fork_spawner(setup: Frame) -> Spawn:
    """Return a function that forks a child, within a few milliseconds."""

    def spawn(server: Server) -> ChildHandle:
        with open_endpoints() as ends:
            parent = os.getpid()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about threads that libraries run outside Python
                pid = os.fork()
            if pid == 0:
                with suppress(OSError):
                    os.setpgid(0, 0)
                    server.close_in_child()
                    ends.stream.close()
                    for descriptor in (ends.stop_pipe, *ends.pipes.values()):
                        os.close(descriptor)
                child = ChildProcess(ends.child_stream, ends.child_stop_pipe, ends.trace)
                child.serve(parent, ends.child_pipes, runs=setup["executions_per_child"])
            # The child does the same: either may be first, and the group must exist from then on.
            with suppress(OSError):
                os.setpgid(pid, pid)
            return ends.child(pid)

    return spawn


def exec_spawner(setup: Frame) -> Spawn:
    """Return a function that starts a child in a fresh interpreter, within about a second."""

    def spawn(server: Server) -> ChildHandle:
        with open_endpoints() as ends:
            stream, pipes = ends.child_stream.fileno(), ends.child_pipes
            for descriptor in (stream, ends.child_stop_pipe, ends.trace, *pipes.values()):
                os.set_inheritable(descriptor, True)
            arguments = command(
                stream=stream, stop_pipe=ends.child_stop_pipe, trace=ends.trace, pipes=pipes
            )
            pid = os.posix_spawn(arguments[0], arguments, os.environ, setpgroup=0)
            # The server keeps this end; it closes the others that were made inheritable.
            os.set_inheritable(ends.trace, False)
            child = ends.child(pid)
            child.loading = True
            child.channel.send(setup)
            return child

    return spawn
