"""Handlers that do what must not be done twice, and stop in the middle of it to be killed there."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from contextlib import nullcontext
from typing import Any

from django.contrib.auth.models import Group
from django.db import transaction

from scheduled_tasks import TaskContext, lock, scheduled_task
from tests.jobs.tasks import append

#: Where an attempt of ``take_steps`` stays: in which step, and whether after its checkpoint.
STAYS = {1: (3, False), 2: (6, True)}


@scheduled_task
def take_steps(context: TaskContext, path: str, steps: int = 10) -> int:
    """Take steps, each in a transaction with its checkpoint; return where it went on."""
    begin = context.checkpoint or 0
    for step in range(begin, steps):
        with transaction.atomic():
            do(f"step {step}")
            stay_in(context, path, step, checkpointed=False)
            context.checkpoint_in_transaction(step + 1)
            stay_in(context, path, step, checkpointed=True)
        assert context.checkpoint == step + 1
    return int(begin)


@scheduled_task
def do_once(context: TaskContext, path: str, *, atomic: bool, stays: bool = True) -> bool:
    """Do something unless it is done; say whether. The first attempt stays when it has done it."""
    with transaction.atomic() if atomic else nullcontext(), context.once("mail") as first:
        if first:
            do("mail")
            if stays and context.attempt == 1:
                stay(path)
    return first


@scheduled_task
async def do_async(context: TaskContext, path: str) -> list[object]:
    """Use all of it in an async handler; the first attempt stays in the middle."""
    begun_with = context.checkpoint
    async with lock("import", timeout=30) as held, context.once("mail") as first:
        held.check()
        await context.acheckpoint([context.attempt])
        if context.attempt == 1:
            stay(path)
    return [begun_with, first, context.checkpoint]


@scheduled_task
def wait_for_lock(path: str) -> None:
    """Wait for a lock that somebody else holds."""
    append(path, str(os.getpid()))
    with lock("import"):
        append(path, "held")


def do(what: str) -> None:
    """Have an effect that can be counted."""
    Group.objects.create(name=f"{what} {uuid.uuid4()}")


def stay_in(context: TaskContext, path: str, step: int, *, checkpointed: bool) -> None:
    if STAYS.get(context.attempt) == (step, checkpointed):
        stay(path)


def stay(path: str) -> None:
    """Write the number of the process, and stay."""
    append(path, str(os.getpid()))
    time.sleep(600)


@scheduled_task
async def await_checkpoint(context: TaskContext, path: str) -> Any:
    """Leave a checkpoint, while another task of the loop goes on, and write down what comes."""
    beside = asyncio.create_task(go_on(path))
    try:
        append(path, "asked")
        await context.acheckpoint({"page": 3})
    except BaseException as error:
        append(path, type(error).__name__)
        raise
    finally:
        beside.cancel()
    append(path, "written")
    return context.checkpoint


async def go_on(path: str) -> None:
    while True:
        await asyncio.sleep(0.01)
        append(f"{path}.beside", "going on")
