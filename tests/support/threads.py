"""Threads that do something at the same time, each on a connection of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from django.db import connections


def in_parallel(calls: Sequence[Callable[[], object]]) -> None:
    """Begin all calls at once, each in a thread. Raise what some of them raise."""
    barrier, errors = threading.Barrier(len(calls)), list[BaseException]()

    def run(call: Callable[[], object]) -> None:
        try:
            barrier.wait()
            call()
        except BaseException as error:  # noqa: BLE001 -- raised below
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=[call]) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise BaseExceptionGroup("threads have failed", errors)
