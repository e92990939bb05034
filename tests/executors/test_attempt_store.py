"""Checkpoints that are part of a handler's own transaction."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest
from django.contrib.auth.models import Group
from django.db import transaction

from scheduled_tasks.exceptions import LeaseLost, WrongTransaction
from scheduled_tasks.models import Execution, Worker
from scheduled_tasks.runtime.context import TaskContext
from scheduled_tasks.runtime.runs import Run
from tests.runtime.test_once import another_attempt, context_at, run

__all__ = ["run"]

pytestmark = pytest.mark.django_db(transaction=True)


def stored() -> object:
    return Execution.objects.get().checkpoint


def test_a_checkpoint_is_committed_with_its_step(run: Run, now: datetime) -> None:
    context = context_at(now, run)
    with transaction.atomic():
        Group.objects.create(name="step")
        context.checkpoint_in_transaction({"done": (1,)})
        assert context.checkpoint is None
    assert context.checkpoint == stored() == {"done": [1]}
    with transaction.atomic():
        context.checkpoint_in_transaction(None)
    assert context.checkpoint is None
    assert Execution.objects.filter(checkpoint__isnull=True).exists()


def test_it_is_rolled_back_with_the_step(run: Run, now: datetime) -> None:
    context = context_at(now, run)
    context.checkpoint = 1
    with transaction.atomic():
        Group.objects.create(name="step")
        context.checkpoint_in_transaction(2)
        transaction.set_rollback(True)
    assert context.checkpoint == 1
    assert stored() is None
    assert not Group.objects.exists()
    context.heartbeat()


def test_it_needs_a_transaction(run: Run, now: datetime) -> None:
    context = context_at(now, run)
    with pytest.raises(WrongTransaction, match=r"inside transaction.atomic\(using='default'\)"):
        context.checkpoint_in_transaction(1)
    assert stored() is None


@pytest.mark.django_db(transaction=False)
def test_a_test_cases_transaction_is_not_the_handlers(run: Run, now: datetime) -> None:
    context = context_at(now, run)
    with pytest.raises(WrongTransaction):
        context.checkpoint_in_transaction(1)
    with transaction.atomic():
        context.checkpoint_in_transaction(1)
    context.heartbeat()
    assert stored() == 1


@pytest.mark.parametrize(
    "confirm",
    [lambda context: context.heartbeat(), lambda context: setattr(context, "checkpoint", 2)],
)
def test_nothing_is_confirmed_until_that_transaction_ends(
    run: Run, now: datetime, confirm: Callable[[TaskContext], None]
) -> None:
    context = context_at(now, run)
    with transaction.atomic():
        confirm(context)
        with transaction.atomic():
            context.checkpoint_in_transaction(1)
        with pytest.raises(WrongTransaction, match="End it first"):
            confirm(context)
    confirm(context)
    with transaction.atomic():
        confirm(context)


def test_an_ended_attempts_step_is_rolled_back(run: Run, worker: Worker, now: datetime) -> None:
    context = context_at(now, run)
    another_attempt(run, worker, now)
    with pytest.raises(LeaseLost, match=r"Attempt 1 of execution \d+ has ended"):
        take_a_step(context)
    assert context.checkpoint is None
    assert stored() is None
    assert not Group.objects.exists()
    context.heartbeat()


def take_a_step(context: TaskContext) -> None:
    with transaction.atomic():
        Group.objects.create(name="step")
        context.checkpoint_in_transaction(1)


@pytest.mark.parametrize("status", ["queued", "success", "cancelled"])
def test_what_does_not_run_leaves_none(run: Run, now: datetime, status: str) -> None:
    Execution.objects.update(status=status)
    with pytest.raises(LeaseLost), transaction.atomic():
        context_at(now, run).checkpoint_in_transaction(1)
    assert stored() is None


def test_what_has_no_json_form_is_none(run: Run, now: datetime) -> None:
    with pytest.raises(TypeError, match="no JSON form"), transaction.atomic():
        context_at(now, run).checkpoint_in_transaction(object())
