"""A worker's process with runs in hand, for tests that stop or kill it.

Takes a JSON object: ``runs`` to start, each a handler and its options; ``lease`` in seconds; and
``held``, whether another process is to hold all its sockets. Writes a line with the numbers of its
fork server and of that process, and one for each run that ends.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import django


def main(*, runs: list[tuple[str, dict[str, Any]]], lease: float, held: bool) -> None:
    """Hold the runs in hand until killed."""
    django.setup()
    from scheduled_tasks.runtime.clock import boottime  # noqa: PLC0415 -- of a project that is loaded
    from tests.executors.processes_in_hand import Hand  # noqa: PLC0415

    hand = Hand(len(runs))
    hand.executor.open()
    hand.executor.extend_lease(boottime() + lease)
    for handler, options in runs:
        hand.start(handler, **options)
    holder = os.fork() if held else 0
    if held and holder == 0:
        time.sleep(600)
    sys.stdout.write(f"{hand.server.pid} {holder}\n")
    sys.stdout.flush()
    while True:
        hand.wait(lambda: hand.endings, within=600)
        for ending in hand.endings.values():
            sys.stdout.write(f"{ending}\n")
        sys.stdout.flush()
        hand.endings.clear()


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
