"""The start of a fork server, and of a child that is not forked: ``boot`` is called first."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, NoReturn

from scheduled_tasks.executors.process import operating_system
from scheduled_tasks.executors.process.wire import LENGTHS, Channel, Frame, encode, loaded
from scheduled_tasks.runtime.logs.console import show_on_console

#: The interpreter specializes code within this many calls. Code that is specialized only in the
#: children would be copied and changed in each of them.
REHEARSALS = 20
#: Modules behind public names, which handlers import when they are called: each child would load
#: them again.
PRELOADED = (
    "scheduled_tasks.lifecycle.editing",
    "scheduled_tasks.operations.executions",
    "scheduled_tasks.operations.locks",
    "scheduled_tasks.operations.tasks",
)


def boot(
    *,
    stream: int,
    stop_pipe: int | None = None,
    trace: int | None = None,
    pipes: Mapping[str, int] = MappingProxyType({}),
) -> NoReturn:
    """Become a fork server, or with ``stop_pipe``, ``trace`` and ``pipes`` one of its children."""
    parent = os.getppid()
    # They had to be inherited by this interpreter, and must not be by what handlers start.
    for descriptor in (stream, stop_pipe, trace, *pipes.values()):
        if descriptor is not None:
            os.set_inheritable(descriptor, False)
    channel = socket.socket(fileno=stream)
    setup = read_setup(channel)
    if stop_pipe is None or trace is None:
        # The worker decides about its runs.
        for number in operating_system.STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        operating_system.wake_when_parent_dies()
        operating_system.adopt_orphans()
        operating_system.set_name("fork-server")
        load_project(setup)
        for name in PRELOADED:
            import_module(name)
        run_server(channel, setup)
    load_project(setup)
    # Not earlier: these modules need a loaded project.
    from scheduled_tasks.executors.process.fork_server.child import ChildProcess  # noqa: PLC0415

    runs = setup["executions_per_child"]
    ChildProcess(channel, stop_pipe, trace).serve(parent, pipes, runs=runs)


def read_setup(stream: socket.socket) -> Frame:
    """Read the first frame, which has no body, and nothing after it."""
    length, _ = LENGTHS.unpack(stream.recv(LENGTHS.size, socket.MSG_WAITALL))
    return loaded(stream.recv(length, socket.MSG_WAITALL))


def load_project(setup: Mapping[str, Any]) -> None:
    """Load the project with the worker's databases and log level, and leave no connection open."""
    sys.argv[:] = setup["argv"]
    import django  # noqa: PLC0415
    from django.db import connections  # noqa: PLC0415

    django.setup()
    for alias, address in setup["databases"].items():
        connections[alias].settings_dict.update(address)
    if setup["log_level"] is not None:
        show_on_console(setup["log_level"])
    # Processes that share a connection would read each other's answers.
    for connection in connections.all():
        connection.close()
        # Django has pools since 5.1, and only for PostgreSQL.
        if close_pool := getattr(connection, "close_pool", None):
            close_pool()


def run_server(channel: socket.socket, setup: Frame) -> NoReturn:
    """Serve until the worker is gone, then exit."""
    from scheduled_tasks.executors.process.fork_server import spawning  # noqa: PLC0415
    from scheduled_tasks.executors.process.fork_server.child import rehearse  # noqa: PLC0415
    from scheduled_tasks.executors.process.fork_server.server import ForkServer, ServerOptions  # noqa: PLC0415
    from scheduled_tasks.handlers.registry import registry  # noqa: PLC0415

    # They do not survive a fork, and locks that they hold are never released in the child.
    threads = [thread.name for thread in threading.enumerate()[1:]]
    spawn = (
        spawning.fork_spawner if operating_system.LINUX and not threads else spawning.exec_spawner
    )
    options = ServerOptions(
        spares=setup["spares"],
        grace=setup["grace"],
        start_timeout=setup["start_timeout"],
        executions_per_child=setup["executions_per_child"],
        lease_until=setup["lease_until"],
        worker=setup["worker"],
    )
    channel.sendall(encode({"kind": "ready", "threads": threads}))
    operating_system.raised_oom_score()
    registry.prepare()
    for _ in range(REHEARSALS):
        rehearse()
    # A collection writes to every object that it visits, which would copy them in each child.
    gc.collect()
    gc.freeze()
    ForkServer(Channel(channel), options, spawn(setup)).serve()
    os._exit(0)
