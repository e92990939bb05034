"""Runs each attempt in its own process, forked from a server that limits and ends runs.

Runs go in through ``executor.ProcessExecutor``, in the worker's main thread; messages and endings
come out of it, read by the thread of ``fork_server.client``. ``wire`` defines the frames between
processes, ``endings`` turns the report on a process into an outcome.

Read ``executor`` first, then ``fork_server/README.md``.
"""

from __future__ import annotations
