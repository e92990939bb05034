"""Hypothesis looks for the shortest story that the engine and the model tell differently.

Up to three tasks, two workers, and every event at moments near those at which the rules change
their mind. A failing story is printed as the calls that make it up. The long form::

    STORIES=5000 python -m tests tests/policies/test_stateful.py
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.policies.moves import DEPLOYS, ENDINGS, changes, gaps, policies
from tests.policies.records import HANDLERS, Ending, Task
from tests.policies.world import World
from tests.schedules.moments import utc
from tests.support.lengths import short_and_long

pytestmark = pytest.mark.django_db

MAX_TASKS = 3
#: An hour before the clocks of Berlin are put forward.
START = utc("2026-03-29 00:00:00")


class Story(RuleBasedStateMachine):
    """One world, at first with one task, in a transaction of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        self.world = World()
        self.now = START
        #: The handlers in the newest code.
        self.handlers: Collection[str] = HANDLERS
        self.world.hire(3)
        self.world.hire(1, ("slow",))

    def teardown(self) -> None:
        """Leave the tables as empty as they were."""
        transaction.set_rollback(True)
        self.transaction.__exit__(None, None, None)

    @property
    def tasks(self) -> list[Task]:
        return list(self.world.rules.tasks.values())

    def pick(self, number: int) -> Task:
        return self.tasks[number % len(self.tasks)]

    def wait(self, gap: timedelta) -> datetime:
        self.now += gap
        return self.now

    def active(self) -> bool:
        return any(execution.active for execution in self.world.rules.alive)

    @initialize(fields=policies)
    def begin(self, fields: dict[str, Any]) -> None:
        self.define(timedelta(0), fields)

    @precondition(lambda self: len(self.tasks) < MAX_TASKS)
    @rule(gap=gaps, fields=policies)
    def define(self, gap: timedelta, fields: dict[str, Any]) -> None:
        name = f"task-{len(self.world.ledger.tasks) + 1}"
        if fields.get("handler") not in self.world.rules.known:
            fields = fields | {"handler": HANDLERS[0]}
        self.world.define(name, self.wait(gap), **fields)

    @precondition(lambda self: self.tasks)
    @rule(gap=gaps, which=st.integers(0, 2), changed=changes)
    def edit(self, gap: timedelta, which: int, changed: dict[str, Any]) -> None:
        self.world.edit(self.pick(which), self.wait(gap), **changed)

    @precondition(lambda self: self.tasks)
    @rule(gap=gaps, which=st.integers(0, 2), minutes=st.sampled_from([None, None, 1, 30]))
    def pause(self, gap: timedelta, which: int, minutes: int | None) -> None:
        """Pause a task or end its pause."""
        until = None if minutes is None else self.wait(gap) + timedelta(minutes=minutes)
        self.world.edit(self.pick(which), self.now, paused_until=until)

    @precondition(lambda self: self.tasks)
    @rule(which=st.integers(0, 2), slots=st.integers(0, 2))
    def pause_until_a_slot(self, which: int, slots: int) -> None:
        """Pause a task for so many slots, exactly until the next."""
        task = self.pick(which)
        for until in islice(task.slots_after(self.now), slots, slots + 1):
            self.world.edit(task, self.now, paused_until=until)

    @precondition(lambda self: self.tasks)
    @rule(gap=gaps, which=st.integers(0, 2))
    def run_now(self, gap: timedelta, which: int) -> None:
        self.world.run_now(self.pick(which), self.wait(gap))

    @precondition(lambda self: self.tasks)
    @rule(gap=gaps, which=st.integers(0, 2), quietly=st.booleans())
    def delete(self, gap: timedelta, which: int, *, quietly: bool) -> None:
        delete = self.world.delete_quietly if quietly else self.world.delete
        delete(self.pick(which), self.wait(gap))

    @precondition(lambda self: self.tasks)
    @rule(gap=gaps, which=st.integers(0, 2))
    def disable_quietly(self, gap: timedelta, which: int) -> None:
        self.world.disable_quietly(self.pick(which), self.wait(gap))

    @rule(gap=gaps, minutes=st.sampled_from([None, 1, 30]))
    def pause_everything(self, gap: timedelta, minutes: int | None) -> None:
        until = None if minutes is None else self.wait(gap) + timedelta(minutes=minutes)
        self.world.pause_everything(self.now, until)

    @rule(gap=gaps)
    def resume(self, gap: timedelta) -> None:
        self.world.resume(self.wait(gap))

    @rule(gap=gaps)
    def look(self, gap: timedelta) -> None:
        self.world.look(self.wait(gap))

    @rule(gap=gaps, first=st.booleans(), ending=st.none() | ENDINGS)
    def tick(self, gap: timedelta, *, first: bool, ending: Ending | None) -> None:
        """Let a worker tick; all that it runs ends, or nothing."""
        worker = list(self.world.workers.values())[0 if first else -1]
        now = self.wait(gap)
        ended = self.world.held(worker) if ending is not None else []
        self.world.tick(worker, now, [(execution, ending) for execution in ended if ending])

    @precondition(lambda self: any(e.status == "running" for e in self.world.rules.alive))
    @rule(gap=gaps, ending=ENDINGS)
    def finish(self, gap: timedelta, ending: Ending) -> None:
        """Let all that runs end, worker by worker."""
        now = self.wait(gap)
        for worker in self.world.workers.values():
            ended = [(execution, ending) for execution in self.world.held(worker)]
            if ended:
                self.world.tick(worker, now, ended)

    @precondition(lambda self: self.world.coming(self.now))
    @rule(late=st.sampled_from([0, 0, 1, 59, 60, 61]))
    def tick_in_time(self, late: int) -> None:
        """Let a worker tick when something is due, or so much later."""
        self.wait(self.world.coming(self.now)[0] - self.now + timedelta(seconds=late))
        self.world.tick(next(iter(self.world.workers.values())), self.now)

    @precondition(lambda self: self.tasks)
    @rule(which=st.integers(0, 2), slow=st.sampled_from([10, 100]))
    def reschedule_by_a_slow_clock(self, which: int, slow: int) -> None:
        """Let somebody restart a task's clock whose own clock is slow."""
        task = self.pick(which)
        zone = "UTC" if task.timezone != "UTC" else "Europe/Berlin"
        self.world.edit(task, self.now - timedelta(seconds=slow), timezone=zone)

    @rule(gap=gaps, charged=st.booleans())
    def lose(self, gap: timedelta, *, charged: bool) -> None:
        worker = next(iter(self.world.workers.values()))
        self.world.lose(worker, self.wait(gap), charged=charged)
        self.world.hire(worker.concurrency, worker.queues, self.handlers)

    @rule(gap=gaps, all_at_once=st.booleans(), publish=st.booleans(), gone=st.sampled_from(DEPLOYS))
    def deploy(
        self, gap: timedelta, gone: tuple[str, ...], *, all_at_once: bool, publish: bool
    ) -> None:
        """Replace one worker, or all, by workers whose code may lack handlers."""
        self.handlers = [name for name in HANDLERS if name not in gone]
        workers = list(self.world.workers.values())
        now = self.wait(gap)
        for worker in workers if all_at_once else workers[:1]:
            self.world.replace(worker, now, self.handlers)
        if publish:
            self.world.publish(self.handlers)

    @precondition(active)
    @rule(gap=gaps, which=st.integers(0, 5))
    def cancel(self, gap: timedelta, which: int) -> None:
        active = [execution for execution in self.world.rules.alive if execution.active]
        self.world.cancel([active[which % len(active)]], self.wait(gap))

    @precondition(lambda self: any(e.status == "failed" for e in self.world.rules.executions))
    @rule(gap=gaps, which=st.integers(0, 5))
    def requeue(self, gap: timedelta, which: int) -> None:
        failed = [e for e in self.world.rules.executions if e.status == "failed"]
        self.world.requeue(failed[which % len(failed)], self.wait(gap))

    @rule()
    def compare_all(self) -> None:
        self.world.ledger.compare_all()


@pytest.mark.parametrize("stories", short_and_long("STORIES", short=8, long=200))
def test_the_engine_does_what_the_rules_say(stories: int) -> None:
    told = settings(
        max_examples=stories,
        stateful_step_count=30,
        database=None,
        print_blob=True,
        verbosity=Verbosity.normal,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Story, settings=told)
