"""How the fork server makes a child: forked from itself, or started afresh."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from scheduled_tasks.executors.fork_server.child import Child as ChildProcess
from scheduled_tasks.executors.fork_server.family import Child, trace_file
from scheduled_tasks.executors.fork_server.interpreter import command
from scheduled_tasks.executors.wire import Channel, Frame


class Server(Protocol):
    """What a forked child needs of the server that it comes from."""

    def leave_to_child(self) -> None:
        """Close what only the server may hold."""


Spawn = Callable[[Server], Child]


def forking(setup: Frame) -> Spawn:
    """Return what forks a child, within a few milliseconds."""

    def spawn(server: Server) -> Child:
        (ours, theirs), (orders_end, orders), trace = socket.socketpair(), os.pipe(), trace_file()
        parent = os.getpid()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of threads that libraries run outside of Python
            pid = os.fork()
        if pid == 0:
            with suppress(OSError):
                os.setpgid(0, 0)
                server.leave_to_child()
                ours.close()
                os.close(orders)
            ChildProcess(theirs, orders_end, trace).live(parent, runs=setup["executions_per_child"])
        with suppress(OSError):
            os.setpgid(pid, pid)
        theirs.close()
        os.close(orders_end)
        return Child(pid, Channel(ours), orders, trace)

    return spawn


def starting_afresh(setup: Frame) -> Spawn:
    """Return what starts a child with an interpreter of its own, within about a second."""

    def spawn(server: Server) -> Child:
        (ours, theirs), (orders_end, orders), trace = socket.socketpair(), os.pipe(), trace_file()
        for descriptor in (theirs.fileno(), orders_end, trace):
            os.set_inheritable(descriptor, True)
        arguments = command(stream=theirs.fileno(), orders=orders_end, trace=trace)
        pid = os.posix_spawn(arguments[0], arguments, os.environ, setpgroup=0)
        os.set_inheritable(trace, False)
        theirs.close()
        os.close(orders_end)
        channel = Channel(ours)
        channel.send(setup)
        return Child(pid, channel, orders, trace)

    return spawn
