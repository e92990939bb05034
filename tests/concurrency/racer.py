"""Processes that make operations on the test database, each at the moment when the others do."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from typing import Any

import django

#: How long one waits for the other, in seconds, where nothing but a loaded machine can be slow.
LONG = 60


@dataclass
class Racers:
    """Processes that wait for what to do."""

    pipes: list[Connection]

    def race(self, *runs: tuple[str, Any, int, float]) -> list[tuple[str, Any]]:
        """Let each make its run at once; return what was raised, and the worlds as they know them.

        A run is the name of a move, a world, a number and by how many seconds it starts later.
        """
        for pipe, run in zip(self.pipes, runs, strict=True):
            pipe.send(run)
        assert all(pipe.poll(LONG) for pipe in self.pipes), f"{runs} do not come to an end"
        return [pipe.recv() for pipe in self.pipes]


@contextmanager
def racers(
    count: int, environment: Mapping[str, str], *, moves: str = "tests.concurrency.moves"
) -> Iterator[Racers]:
    """Start processes that have this environment, and moves; end them whatever happens."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(count)
    mine, theirs = zip(*(context.Pipe() for _ in range(count)), strict=True)
    processes: list[BaseProcess] = [
        context.Process(target=run, args=(pipe, barrier, dict(environment), moves), daemon=True)
        for pipe in theirs
    ]
    try:
        for process in processes:
            process.start()
        yield Racers(list(mine))
    finally:
        for pipe in (*mine, *theirs):
            pipe.close()
        for process in processes:
            process.join(timeout=LONG)
            process.kill()
            process.join()
            process.close()


def run(pipe: Connection, barrier: Barrier, environment: Mapping[str, str], moves: str) -> None:
    """Make one move after the other, each together with the other processes, until told no more."""
    os.environ.update(environment)
    django.setup()
    module = import_module(moves)  # it needs the models
    while True:
        try:
            name, world, number, pause = pipe.recv()
        except EOFError:
            return
        barrier.wait(LONG)
        time.sleep(pause)
        raised = ""
        try:
            getattr(module, name)(world, number)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the test tells it
            raised = repr(error)
        pipe.send((raised, world))
