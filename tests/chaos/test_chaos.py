"""Everything that can break breaks, and what was promised is kept.

Two minutes of it::

    python -m tests -m chaos

CHAOS_SECONDS=3600 makes it an hour, CHAOS_SEED=… plays a script again: the same tasks, and the same
acts, meant for the same moments. Whom they find depends on who is alive then.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.checker import violations
from tests.chaos.enough import LONG_ENOUGH, lacking
from tests.chaos.history import History
from tests.chaos.journal import BEGUN
from tests.chaos.scene import scene

SECONDS = int(os.environ.get("CHAOS_SECONDS", "120"))
SEED = int(os.environ.get("CHAOS_SEED", random.randrange(1_000_000)))
#: So many violations are printed; the folder has all, and logs, rows, and what handlers wrote.
MAX_SHOWN = 20


@pytest.mark.without_database
@pytest.mark.long
@pytest.mark.chaos
def test_promises_survive_kills_freezes_and_cut_connections(
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    with capsys.disabled():
        say(f"\nCHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS} {folder}")
    with scene(folder, seed=SEED, seconds=SECONDS) as now:
        now.monkey.play(SEED, now.seconds_left)
        unrest = now.wait_for_rest()
        now.fleet.stop()
        history = now.history()
    told = [*history.alarms, *history.outbox, *history.messages]
    (folder / "rows").write_text("\n".join(map(str, [*history.rows, *history.tried, *told])))
    with capsys.disabled():
        say(in_short(history, Counter(now.monkey.done)))
    found = violations(history)
    (folder / "violations").write_text("\n".join(found))
    assert not unrest, f"CHAOS_SEED={SEED}: it does not come to rest, see {folder}: {unrest}"
    assert not found, "\n".join(
        [f"CHAOS_SEED={SEED}: {len(found)} violations, see {folder}", *found[:MAX_SHOWN]]
    )
    missing = list(lacking(history, now.monkey.done)) if SECONDS >= LONG_ENOUGH else []
    assert not missing, f"CHAOS_SEED={SEED}: it has not shown enough, see {folder}: {missing}"
    shutil.rmtree(folder)


def in_short(history: History, done: Counter[str]) -> str:
    """Say in numbers what happened."""
    statuses = Counter(row.status for row in history.rows)
    outcomes = Counter(one.outcome for one in history.tried)
    begun = sum(line.what == BEGUN for line in history.journal)
    return "\n".join(
        f"  {name}: {value}"
        for name, value in {
            "acts": in_words(done),
            "workers": in_words(Counter(history.states.values())),
            "slots": sum(row.slots for row in history.rows),
            "rows": in_words(statuses),
            "attempts begun": begun,
            "attempts repeated": in_words(outcomes),
            "alerts": in_words(Counter(alarm.condition for alarm in history.alarms)),
            "messages": in_words(Counter(message.event for message in history.messages)),
        }.items()
    )


def in_words(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counter.most_common())


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
