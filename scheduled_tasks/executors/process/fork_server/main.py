"""How the fork server, and a child that is started afresh, come to life."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NoReturn

from scheduled_tasks.executors.process import operating_system
from scheduled_tasks.executors.process.wire import LENGTH, Channel, Frame, encode
from scheduled_tasks.runtime.logs.console import show_on_console

#: The interpreter makes code faster, by changing it, within so many calls. What the server has not
#: changed would be copied and changed in each child.
REHEARSALS = 20


def boot(
    *,
    stream: int,
    orders: int | None = None,
    trace: int | None = None,
    pipes: Mapping[str, int] = MappingProxyType({}),
) -> NoReturn:
    """Become a fork server, or with ``orders``, ``trace`` and ``pipes`` one of its children."""
    parent = os.getppid()
    for descriptor in (stream, orders, trace, *pipes.values()):
        if descriptor is not None:
            os.set_inheritable(descriptor, False)
    channel = socket.socket(fileno=stream)
    setup = first_frame(channel)
    if orders is None or trace is None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        operating_system.wake_when_parent_dies()
        operating_system.adopt_orphans()
        operating_system.set_name("fork-server")
        load(setup)
        serve(channel, setup)
    load(setup)
    # Only here, because these modules need the project to be loaded.
    from scheduled_tasks.executors.process.fork_server.child import ChildProcess  # noqa: PLC0415

    runs = setup["executions_per_child"]
    ChildProcess(channel, orders, trace).live(parent, pipes, runs=runs)


def first_frame(stream: socket.socket) -> Frame:
    """Read the first frame and nothing of what follows."""
    (length,) = LENGTH.unpack(stream.recv(LENGTH.size, socket.MSG_WAITALL))
    return dict(json.loads(stream.recv(length, socket.MSG_WAITALL)))


def load(setup: Mapping[str, Any]) -> None:
    """Load the project as the worker did, with its databases and log, and no connection open."""
    sys.argv[:] = setup["argv"]
    import django  # noqa: PLC0415
    from django.db import connections  # noqa: PLC0415

    django.setup()
    for alias, address in setup["databases"].items():
        connections[alias].settings_dict.update(address)
    if setup["log_level"] is not None:
        show_on_console(setup["log_level"])
    for connection in connections.all():
        connection.close()
        if close_pool := getattr(connection, "close_pool", None):
            close_pool()


def serve(channel: socket.socket, setup: Frame) -> NoReturn:
    """Be the fork server until the worker is gone."""
    from scheduled_tasks.executors.process.fork_server import spawning  # noqa: PLC0415
    from scheduled_tasks.executors.process.fork_server.child import rehearse  # noqa: PLC0415
    from scheduled_tasks.executors.process.fork_server.server import ForkServer, ServerOptions  # noqa: PLC0415
    from scheduled_tasks.handlers.registry import registry  # noqa: PLC0415

    threads = [thread.name for thread in threading.enumerate()[1:]]
    spawn = spawning.forking if operating_system.LINUX and not threads else spawning.starting_afresh
    rules = ServerOptions(
        spares=setup["spares"],
        grace=setup["grace"],
        beginning=setup["beginning"],
        executions_per_child=setup["executions_per_child"],
        lease_until=setup["lease_until"],
        worker=setup["worker"],
    )
    channel.sendall(encode({"kind": "ready", "threads": threads}))
    operating_system.raised_oom_score()
    registry.prepare()
    for _ in range(REHEARSALS):
        rehearse()
    # What has been loaded is looked at by no collection again, which would copy it in each child.
    gc.collect()
    gc.freeze()
    ForkServer(Channel(channel), rules, spawn(setup)).serve()
    os._exit(0)
