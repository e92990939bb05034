"""Handlers that write down what becomes of them, and the tasks of the plan."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import zlib

from scheduled_tasks import (
    Interval,
    PermanentError,
    Retry,
    RetryLater,
    TaskContext,
    declare,
    scheduled_task,
)
from scheduled_tasks.exceptions import RunInterrupted
from tests.chaos.journal import KEPT, attended, leave_behind, write
from tests.chaos.plan import LASTS, MINUTE, Planned, of_this_worker

STEPS = 5


def drawn(context: TaskContext, sides: int) -> int:
    """Throw a die that falls the same way whenever this attempt is made."""
    return zlib.crc32(f"{context.execution_id} {context.attempt}".encode()) % sides


@scheduled_task
def quick(context: TaskContext) -> None:
    """Do nothing."""
    with attended(context):
        pass


@scheduled_task
def slow(context: TaskContext, seconds: float) -> float:
    """Take some time."""
    with attended(context):
        rest(seconds)
    return seconds


@scheduled_task
def lasting(context: TaskContext) -> None:
    """Go on for long after others may have given its worker up."""
    with attended(context):
        rest(LASTS)


@scheduled_task
def flaky(context: TaskContext) -> None:
    """Fail every second time, now and then for good."""
    with attended(context):
        match drawn(context, 12):
            case 0:
                raise PermanentError("never again")
            case 1 | 2:
                raise ValueError("wrong")
            case 3 | 4 | 5:
                raise ConnectionError("no luck")


@scheduled_task
def postponed(context: TaskContext) -> None:
    """Ask for another time every second time."""
    with attended(context):
        if drawn(context, 2):
            raise RetryLater(0.5, "not yet")


@scheduled_task
def stepwise(context: TaskContext) -> int:
    """Go on from the last checkpoint, step by step."""
    with attended(context):
        for step in range((context.checkpoint or 0) + 1, STEPS + 1):
            rest(0.2)
            context.checkpoint = step
            write(context, KEPT, value=step)
    return STEPS


@scheduled_task
def talkative(context: TaskContext) -> str:
    """Say a lot."""
    with attended(context):
        for number in range(20):
            context.logger.info("line %s", number)
            context.progress(number, 20)
            context.record(processed=1)
            rest(0.01)
    return "said"


@scheduled_task
async def patient(context: TaskContext) -> None:
    """Wait without a thread."""
    with attended(context):
        await asyncio.sleep(0.5)


@scheduled_task
def crashing(context: TaskContext) -> None:
    """End its process without a word, every third time."""
    with attended(context):
        match drawn(context, 6):
            case 0:
                os._exit(3)
            case 1:
                os.kill(os.getpid(), signal.SIGSEGV)


@scheduled_task
def careless(context: TaskContext) -> None:
    """Leave a process behind that would go on for long, every second time out of reach."""
    with attended(context):
        leave_behind(context, ("sleep", "600"), apart=drawn(context, 2) == 0)
        rest(0.5)


@scheduled_task
def stubborn(context: TaskContext) -> None:
    """Have no end, whatever is asked."""
    with attended(context):
        while True:
            try:
                rest(60)
            except RunInterrupted:
                context.logger.info("asked to stop")


def rest(seconds: float) -> None:
    """Sleep in small pieces: a thread can be interrupted only in between."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.05))


def declare_planned(task: Planned) -> None:
    """Declare a task of the plan."""
    every = Interval.from_text(f"every {task.every} seconds", anchor=task.starts_at)
    declare(
        f"chaos.{task.handler}",
        "* * * * *" if task.every == MINUTE else every,
        name=task.name,
        payload=task.payload,
        executor=task.executor,
        overlap_policy=task.overlap,
        misfire_policy=task.misfire,
        misfire_grace=task.grace,
        on_lost=task.on_lost,
        max_losses=task.max_losses,
        retry=Retry(max_retries=task.max_retries, delay=1, backoff=1),
        jitter=task.jitter,
        timeout=task.timeout,
        starts_at=task.starts_at,
        ends_at=task.ends_at,
    )


for planned in of_this_worker():
    declare_planned(planned)
