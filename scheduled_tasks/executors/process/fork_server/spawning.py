"""How the fork server makes a child: forked from itself, or started afresh."""

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
from scheduled_tasks.executors.process.wire import Channel, Frame
from scheduled_tasks.runtime.logs.printed_output import DESCRIPTORS


class Server(Protocol):
    """What a forked child needs of the server that it comes from."""

    def leave_to_child(self) -> None:
        """Close what only the server may hold."""


Spawn = Callable[[Server], ChildHandle]


@dataclass(frozen=True, slots=True)
class ChildEndpoints:
    """What leads to a child: ``stream``, ``orders``, ``trace``, ``outlets``; and its ends of it."""

    stream: socket.socket
    child_stream: socket.socket
    orders: int
    child_orders: int
    trace: int
    pipes: dict[str, int]
    child_pipes: dict[str, int]

    def child(self, pid: int) -> ChildHandle:
        """Return the child that they lead to."""
        pipes = [OutputPipe(name, descriptor) for name, descriptor in self.pipes.items()]
        return ChildHandle(pid, Channel(self.stream), self.orders, self.trace, pipes)


@contextmanager
def open_endpoints() -> Iterator[ChildEndpoints]:
    """Open what leads to a child; close its ends of it afterwards, and all where there is none."""
    with ExitStack() as ends, ExitStack() as ours:
        stream, child_stream = socket.socketpair()
        ours.callback(stream.close)
        ends.callback(child_stream.close)
        child_orders, orders = pipe(ends, ours)
        pipes, child_pipes = {}, {}
        for name in DESCRIPTORS:
            pipes[name], child_pipes[name] = pipe(ours, ends)
        trace = trace_file()
        ours.callback(os.close, trace)
        yield ChildEndpoints(stream, child_stream, orders, child_orders, trace, pipes, child_pipes)
        ours.pop_all()


def pipe(reading: ExitStack, writing: ExitStack) -> tuple[int, int]:
    """Open a pipe, whose ends these stacks close."""
    ends = os.pipe()
    for stack, end in zip((reading, writing), ends, strict=True):
        stack.callback(os.close, end)
    return ends


def forking(setup: Frame) -> Spawn:
    """Return what forks a child, within a few milliseconds."""

    def spawn(server: Server) -> ChildHandle:
        with open_endpoints() as ways:
            parent = os.getpid()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of threads that libraries run outside of Python
                pid = os.fork()
            if pid == 0:
                with suppress(OSError):
                    os.setpgid(0, 0)
                    server.leave_to_child()
                    ways.stream.close()
                    for descriptor in (ways.orders, *ways.pipes.values()):
                        os.close(descriptor)
                child = ChildProcess(ways.child_stream, ways.child_orders, ways.trace)
                child.live(parent, ways.child_pipes, runs=setup["executions_per_child"])
            with suppress(OSError):
                os.setpgid(pid, pid)
            return ways.child(pid)

    return spawn


def starting_afresh(setup: Frame) -> Spawn:
    """Return what starts a child with an interpreter of its own, within about a second."""

    def spawn(server: Server) -> ChildHandle:
        with open_endpoints() as ways:
            stream, pipes = ways.child_stream.fileno(), ways.child_pipes
            for descriptor in (stream, ways.child_orders, ways.trace, *pipes.values()):
                os.set_inheritable(descriptor, True)
            arguments = command(
                stream=stream, orders=ways.child_orders, trace=ways.trace, pipes=pipes
            )
            pid = os.posix_spawn(arguments[0], arguments, os.environ, setpgroup=0)
            os.set_inheritable(ways.trace, False)
            child = ways.child(pid)
            child.channel.send(setup)
            return child

    return spawn
