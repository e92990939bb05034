"""Operations of the engine played against each other, each time in a new world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pytest

from tests.concurrency import moves
from tests.concurrency.interleaving import Played, Segment, Stage, Step
from tests.concurrency.lock_order import deadlocks, wrong_order
from tests.concurrency.moves import Move
from tests.concurrency.soundness import two_running, unsound
from tests.concurrency.world import KeptWorlds

MOVES: tuple[Move, ...] = (
    moves.claim,
    moves.end,
    moves.fire_and_claim,
    moves.fire_newest,
    moves.reap,
    moves.cancel,
    moves.requeue,
    moves.resolve,
    moves.run_now,
    moves.reschedule,
    moves.disable,
    moves.pause,
    moves.delete,
)
#: What moves executions on, and is guarded in every statement.
OF_ENGINE = (
    moves.claim,
    moves.claim_by_hand,
    moves.end,
    moves.fire_and_claim,
    moves.fire_later,
    moves.reap,
    moves.cancel,
    moves.requeue,
    moves.resolve,
)
#: The moves, and those that differ from one of them in what they take or by which clock.
WITH_VARIANTS = (*MOVES, moves.claim_by_hand, moves.fire_later)
#: How the statements begin that write.
WRITES = ("UPDATE ", "INSERT ", "DELETE ")
#: What is about executions that run: beside these, the task that may not overlap is running.
OF_RUNS = {moves.end, moves.reap}


@dataclass(frozen=True)
class Scenario:
    """Moves, and where each stops to let the next one go on."""

    moves: tuple[Move, ...]
    schedule: tuple[Segment, ...] = ()

    @property
    def world(self) -> tuple[bool, str]:
        """Return in which world all of them have something to do: busy or not, and its policy."""
        policy = "cancel_other" if moves.fire_newest in self.moves else "skip"
        return bool(OF_RUNS.intersection(self.moves)), policy

    def __str__(self) -> str:
        """Return which operations are played, and where each stops."""
        names = ", ".join(f"{a} = {m.__name__}" for a, m in zip("ABC", self.moves, strict=False))
        order = "; ".join(
            f"{'ABC'[number]} to its {'end' if until is None else f'step {until}'}"
            for number, until in self.schedule
        )
        return f"{names}: {order}." if order else f"{names}."

    def told(self, played: Played) -> str:
        """Return what was played, what was wrong, and all statements."""
        lines = [str(self), *(f"  - {said}" for said in played.complaints)]
        for actor in "ABC"[: len(self.moves)]:
            lines += [f"  {actor}:", *(f"    {step}" for step in played.of(actor))]
        lines += ["  In order:", *(f"    {step.actor} {step.sql[:100]}" for step in played.steps)]
        return "\n".join(lines)


class Theatre:
    """Plays scenarios, each in a world of its own, and holds what comes of them to be sound."""

    def __init__(self, stage: Stage, worlds: KeptWorlds, *, locks: bool = True) -> None:
        self.stage = stage
        self.locks = locks
        self.worlds = worlds
        self.steps: dict[tuple[Move, tuple[bool, str]], list[Step]] = {}

    def play(self, scenario: Scenario) -> Played:
        """Play one scenario; the complaints are all that went wrong."""
        world = self.worlds.make(*scenario.world)
        operations = [partial(move, world, number) for number, move in enumerate(scenario.moves)]
        played = self.stage.play(operations, scenario.schedule, two_running)
        played.complaints += [f"raised: {error!r}" for error in played.errors if error]
        played.complaints += unsound(world, locks=self.locks)
        if self.locks:
            played.complaints += wrong_order(played.steps) + deadlocks(played.steps)
        return played

    def steps_of(self, number: int, scenario: Scenario) -> range:
        """Return after how many steps one of the moves can be stopped, were it left alone."""
        return range(len(self.steps_alone(number, scenario)))

    def first_write_of(self, number: int, scenario: Scenario) -> int:
        """Return after how many steps one of the moves has read, and not written yet."""
        steps = self.steps_alone(number, scenario)
        return next((n for n, step in enumerate(steps) if step.sql.startswith(WRITES)), 0)

    def steps_alone(self, number: int, scenario: Scenario) -> list[Step]:
        """Return the steps of one of the moves where it meets no other."""
        move = scenario.moves[number]
        key = move, scenario.world
        if key not in self.steps:
            world = self.worlds.make(*scenario.world)
            played = self.stage.play([partial(move, world, 0)], [(0, None)])
            assert played.errors == [None]
            self.steps[key] = played.steps[: self.stage.actors[0].position]
        return self.steps[key]

    def assert_sound(self, scenarios: Sequence[Scenario]) -> None:
        """Play scenarios; tell the whole story of the first that went wrong, and of how many."""
        wrong = [
            (scenario, played)
            for scenario in scenarios
            if (played := self.play(scenario)).complaints
        ]
        if wrong:
            scenario, played = wrong[0]
            lines = [f"{len(wrong)} of {len(scenarios)} went wrong. {scenario.told(played)}"]
            lines += [f"{scenario} {played.complaints}" for scenario, played in wrong[1:]]
            pytest.fail("\n".join(lines), pytrace=False)
