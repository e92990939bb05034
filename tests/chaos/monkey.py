"""Does harm to workers, their processes, connections and database, and sends people, by a seed."""

from __future__ import annotations

import json
import sched
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import psutil
import psycopg

from tests.chaos.cluster import Cluster
from tests.chaos.fleet import Fleet, Running
from tests.chaos.history import Harm, Outage
from tests.chaos.people import People
from tests.chaos.proxy import Proxy
from tests.chaos.script import FOR_LONG, PAUSES, Act, acts


class Monkey:
    """Performs acts, each written into a log; what lasts for a while is undone in time.

    A worker of which something is frozen or cut off is left alone until that is over, as is a
    database that is away. The worker in the first place is the one behind the proxy.
    """

    def __init__(
        self, fleet: Fleet, cluster: Cluster, proxy: Proxy, people: People, log: Path
    ) -> None:
        self.fleet = fleet
        self.cluster = cluster
        self.proxy = proxy
        self.people = people
        self.outages: list[Outage] = []
        self.done: list[str] = []
        self._log = log
        self._timer = sched.scheduler(time.monotonic)
        self._in_trouble: set[object] = set()
        self._free = 0.0

    def play(self, seed: int, seconds: float) -> None:
        """Do what follows from the seed for so long, and undo all that lasts.

        An act that finds nobody to do it to is put off until there is somebody.
        """
        begun = self._free = time.monotonic()
        over = begun + seconds
        put_off: list[Act] = []
        for act in acts(seed):
            self._wait(min(begun + act.at, over))
            put_off = [one for one in [*put_off, act] if not self._does(one, over)]
            if time.monotonic() >= over:
                break
        self.heal()

    def _does(self, act: Act, over: float) -> bool:
        """Do one thing, once everybody was left alone for long enough; say whether it was done."""
        self._wait(min(self._free, over))
        if time.monotonic() >= over or not (did := self.perform(act)):
            return False
        self._free = time.monotonic() + PAUSES[0] + act.rest
        self.done.append(act.what)
        with self._log.open("a") as file:
            file.write(f"{json.dumps({**asdict(act), 'done_at': time.time(), 'did': did})}\n")
        return True

    def perform(self, act: Act) -> str:
        """Do one thing; return what was done, "" where there was nobody to do it to."""
        try:
            return str(getattr(self, act.what.removesuffix(FOR_LONG))(act))
        except (psutil.Error, psycopg.OperationalError):  # it is gone, or away
            return ""

    def heal(self) -> None:
        """Undo now whatever lasts."""
        for event in self._timer.queue:
            self._timer.cancel(event)
            event.action(*event.argument)

    @property
    def victims(self) -> list[Running]:
        """Return the workers that are up and in no trouble."""
        return [
            worker
            for worker in self.fleet.workers
            if worker not in self._in_trouble and worker.fork_server
        ]

    @property
    def runs(self) -> list[tuple[Running, psutil.Process]]:
        """Return the processes of their runs."""
        return [(worker, run) for worker in self.victims for run in worker.runs]

    def kill_worker(self, act: Act) -> str:
        """Kill a worker, and not its fork server."""
        if (worker := act.choose(self.victims)) is None:
            return ""
        worker.life.harms.append(Harm("killed", time.time()))
        worker.process.kill()
        return worker.life.label

    def stop_worker(self, act: Act) -> str:
        """Ask a worker to end, as at a deployment."""
        if (worker := act.choose(self.victims)) is None:
            return ""
        worker.life.harms.append(Harm("stopped", time.time()))
        worker.process.terminate()
        return worker.life.label

    def freeze_worker(self, act: Act) -> str:
        """Stop a worker, and continue it."""
        if (worker := act.choose(self.victims)) is None:
            return ""
        return self._freeze(worker, psutil.Process(worker.process.pid), "frozen", act)

    def kill_fork_server(self, act: Act) -> str:
        """Kill the process that runs are forked from, perhaps while it is being loaded."""
        worker = act.choose(self.victims)
        server = worker and worker.fork_server
        if not (worker and server):
            return ""
        worker.life.harms.append(Harm("fork server killed", time.time()))
        server.kill()
        return f"{worker.life.label} {server.pid}"

    def freeze_fork_server(self, act: Act) -> str:
        """Stop the process that runs are forked from, and continue it."""
        worker = act.choose(self.victims)
        server = worker and worker.fork_server
        if not (worker and server):
            return ""
        return self._freeze(worker, server, "fork server frozen", act)

    def kill_run(self, act: Act) -> str:
        """Kill the process of a run."""
        if (victim := act.choose(self.runs)) is None:
            return ""
        worker, run = victim
        run.kill()
        return f"{worker.life.label} {run.pid}"

    def freeze_run(self, act: Act) -> str:
        """Stop the process of a run, and continue it."""
        if (victim := act.choose(self.runs)) is None:
            return ""
        worker, run = victim
        return self._freeze(worker, run, "run frozen", act)

    def terminate_connection(self, act: Act) -> str:
        """Have the database end one connection, whosever it is."""
        victim = act.choose(self.cluster.clients())
        return self._terminate([] if victim is None else [victim])

    def terminate_all_connections(self, act: Act) -> str:
        """Have the database end all connections."""
        return self._terminate(self.cluster.clients())

    def restart_database(self, act: Act) -> str:
        """Stop the database in good order, and start it."""
        return self._take_database_away("fast", act)

    def crash_database(self, act: Act) -> str:
        """Let the database crash, and start it."""
        return self._take_database_away("immediate", act)

    take_database_away = crash_database

    def cut_off(self, act: Act) -> str:
        """Let nothing through between a worker and the database, and no end of a connection."""
        victim = self.fleet.workers[0]
        if victim not in self.victims:
            return ""
        since = time.time()
        self.proxy.hold()
        self._undo_later(victim, act.seconds, self._reconnect, victim, since)
        return f"{victim.life.label} for {act.seconds:.1f} s"

    def drop_connections(self, act: Act) -> str:
        """End the connections of the worker behind the proxy."""
        ended = self.proxy.drop()
        return f"{ended} connections" if ended else ""

    def ask_people(self, act: Act) -> str:
        """Let somebody do something with the tasks, as one may at any time."""
        return self.people.ask(act.what, act.pick, act.seconds)

    run_now = cancel = requeue = pause = ask_people

    def _terminate(self, clients: Sequence[int]) -> str:
        ended = self.cluster.terminate(clients)
        return f"{ended} connections" if ended else ""

    def _freeze(self, worker: Running, process: psutil.Process, what: str, act: Act) -> str:
        since = time.time()
        process.suspend()
        self._undo_later(worker, act.seconds, self._thaw, worker, process, what, since)
        return f"{worker.life.label} {process.pid} for {act.seconds:.1f} s"

    def _thaw(self, worker: Running, process: psutil.Process, what: str, since: float) -> None:
        self._in_trouble.discard(worker)
        worker.life.harms.append(Harm(what, since, time.time() - since))
        with suppress(psutil.NoSuchProcess):  # somebody has killed it meanwhile
            process.resume()

    def _reconnect(self, worker: Running, since: float) -> None:
        self._in_trouble.discard(worker)
        self.proxy.let_go()
        for victim in {worker, self.fleet.workers[0]}:  # one may have taken the other's place
            victim.life.harms.append(Harm("cut off", since, time.time() - since))

    def _take_database_away(self, mode: str, act: Act) -> str:
        if self.cluster in self._in_trouble:
            return ""
        begun = datetime.now(UTC)
        self.cluster.stop(mode)
        self._undo_later(self.cluster, act.seconds, self._bring_back, begun)
        return f"{mode} for {act.seconds:.1f} s"

    def _bring_back(self, begun: datetime) -> None:
        self.cluster.start()
        self._in_trouble.discard(self.cluster)
        self.outages.append(Outage(begun, datetime.now(UTC)))

    def _undo_later(
        self, victim: object, seconds: float, undo: Callable[..., None], *arguments: object
    ) -> None:
        self._in_trouble.add(victim)
        self._timer.enter(seconds, 1, undo, arguments)

    def _wait(self, until: float) -> None:
        """Wait, and undo what is to be undone meanwhile."""
        while (left := until - time.monotonic()) > 0:
            coming = self._timer.run(blocking=False)
            time.sleep(min(left, coming or left))
