"""Where chaos is made: a folder, a database, workers, and a proxy before one of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.chaos import journal, records
from tests.chaos.cluster import Cluster, cluster
from tests.chaos.fleet import Fleet, name_of
from tests.chaos.history import History
from tests.chaos.messages import messages
from tests.chaos.monkey import Monkey
from tests.chaos.people import People
from tests.chaos.plan import PLAN, Planned, in_words, plan
from tests.chaos.proxy import Proxy
from tests.support.processes import ROOT

WORKERS = 4
#: How long workers that are left alone may take to come to rest, in seconds: what was lost more
#: than once runs one at a time then, and takes up to fifteen.
MAX_REST_SECONDS = 300
#: How long before their first slots tasks are written, in seconds; more on a machine that is busy.
AHEAD = (8, 30, 120)


@dataclass(slots=True)
class Scene:
    """All that takes part."""

    folder: Path
    database: Cluster
    fleet: Fleet
    monkey: Monkey
    tasks: list[Planned]

    @property
    def seconds_left(self) -> float:
        """Return how long slots are still to come."""
        last = max(task.ends_at for task in self.tasks)
        return (last - datetime.now(UTC)).total_seconds()

    def wait_for_rest(self) -> dict[str, int]:
        """Leave the workers alone until nothing is to come; return what still is, if it lasts."""
        deadline = time.monotonic() + MAX_REST_SECONDS
        with self.database.connect() as connection:
            while (
                found := records.to_come(connection, workers=len(self.fleet.workers))
            ) and time.monotonic() < deadline:
                time.sleep(0.2)
        return found

    def history(self) -> History:
        """Return all that has happened."""
        with self.database.connect() as connection:
            return History(
                tasks={task.name: task for task in self.tasks},
                rows=records.rows(connection),
                tried=records.tried(connection),
                counts=records.counts(connection),
                states=records.states(connection),
                journal=journal.lines(self.folder),
                lives=self.fleet.lives,
                outages=self.monkey.outages,
                deeds=self.monkey.people.deeds,
                left=[f"{one.pid} {name_of(one)}" for one in self.fleet.processes()],
                failing=records.failing(connection),
                alarms=records.alarms(connection),
                outbox=records.outbox(connection),
                messages=messages(self.folder),
            )


@contextmanager
def scene(folder: Path, *, seed: int, seconds: int) -> Iterator[Scene]:
    """Set everything up, and leave no process behind."""
    (folder / journal.LOCKS).mkdir()
    environment = {"DJANGO_SETTINGS_MODULE": "tests.chaos.settings"}
    with cluster(folder) as database:
        manage("migrate", folder, database, environment)
        tasks = write_tasks(folder, database, environment, seed=seed, seconds=seconds)
        proxy = Proxy(database.socket / ".s.PGSQL.5432")
        through = f"postgres://postgres:@127.0.0.1:{proxy.port}/postgres"
        people = People(folder, {**environment, "DATABASE_URL": database.url})
        fleet = Fleet([through, *[database.url] * (WORKERS - 1)], folder, environment)
        try:
            monkey = Monkey(fleet, database, proxy, people, folder / "monkey.log")
            yield Scene(folder, database, fleet, monkey, tasks)
        finally:
            people.close()
            fleet.close()
            proxy.close()


def write_tasks(
    folder: Path, database: Cluster, environment: dict[str, str], *, seed: int, seconds: int
) -> list[Planned]:
    """Write the tasks of the plan before their first slots come, and return them."""
    for ahead in AHEAD:
        starts_at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=ahead)
        environment[PLAN] = in_words(seed, starts_at, seconds)
        manage("synctasks", folder, database, environment)
        if datetime.now(UTC) < starts_at:
            return plan(seed, starts_at, seconds)
        with database.connect() as connection:
            connection.execute("TRUNCATE scheduled_tasks_task CASCADE")
    raise AssertionError(f"the tasks could not be written within {ahead} s")


def manage(command: str, folder: Path, database: Cluster, environment: Mapping[str, str]) -> None:
    """Run a management command."""
    with (folder / f"{command}.log").open("wb") as log:
        subprocess.run(
            [sys.executable, "manage.py", command],
            cwd=ROOT,
            env={**os.environ, **environment, "DATABASE_URL": database.url},
            stdout=log,
            stderr=subprocess.STDOUT,
            check=True,
        )
