"""A declared type may refuse a value with any exception: it becomes one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Flag
from typing import Any, NamedTuple, Self

import pytest
from django.core.exceptions import ValidationError
from django.db import OperationalError
from django.test import Client

from scheduled_tasks import change_task, declare, register_task, run_task_now
from scheduled_tasks.exceptions import InvalidPayload, InvalidTask
from scheduled_tasks.handlers.declarations import as_json
from scheduled_tasks.handlers.payloads import PayloadSpec
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Execution, Task
from tests.admin.forms import add, errors_of
from tests.admin.pages import page
from tests.checks.messages import found
from tests.handlers.payloads.declared_types import spec_of

SAID = "w: is refused by Win: x must be positive."


@dataclass
class Win:
    x: int

    def __post_init__(self) -> None:
        if self.x <= 0:
            raise AssertionError("x must be positive")


class Day(NamedTuple):
    name: str


class KnownDay(Day):
    def __new__(cls, name: str) -> Self:
        return super().__new__(cls, {"mon": "Monday"}[name])


class Access(Flag):
    READ = 1

    @classmethod
    def _missing_(cls, value: object) -> Any:
        raise TypeError("no such bit")


@dataclass
class Unhashed:
    x: int

    def __hash__(self) -> int:
        raise RuntimeError("no hash")


def refusing(error: BaseException) -> type[Any]:
    @dataclass
    class Strict:
        x: int

        def __post_init__(self) -> None:
            raise error

    return Strict


def said_of(annotation: Any, value: Any) -> str:
    with pytest.raises(InvalidPayload) as refusal:
        spec_of(annotation).clean({"value": value})
    [said] = refusal.value.errors["value"]
    return said


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AssertionError(), "AssertionError"),
        (KeyError("mon"), "KeyError: 'mon'"),
        (RuntimeError("not\nnow."), "RuntimeError: not now"),
        (ValidationError("%(n)s is odd.", params={"n": 3}), "3 is odd"),
        (ValidationError({"x": ["Odd.", "Small."]}), "Odd. Small"),
        (ValidationError("%(n)s", params={"m": 3}), "<ValidationError whose said_by() raised"),
        (ValueError("a\0\ud800"), "a\ufffd?"),
        (TypeError("x" * 10**6), "xxxx"),
        (ValueError("password=hunter2"), "password="),
    ],
)
def test_whatever_a_type_raises_is_one_sentence(error: Exception, reason: str) -> None:
    said = said_of(refusing(error), {"x": 1})
    assert said.startswith(f"is refused by Strict: {reason}")
    assert said.endswith(".")
    assert "hunter2" not in said
    assert len(said) < 250


@pytest.mark.parametrize(
    ("annotation", "value", "said"),
    [
        (KnownDay, ["tue"], "is refused by KnownDay: KeyError: 'tue'."),
        (Access, 2, "must be a whole number, the sum of READ=1."),
        (Access, "1", "must be a whole number, the sum of READ=1, not text."),
        (set[Unhashed], [{"x": 1}], "is refused by set: RuntimeError: no hash."),
        (set[Any], [[1]], "is refused by set: it can only hold plain values"),
        (list[Win], [{"x": 1}, {"x": 0}], "item 2: is refused by Win: x must be positive."),
        (Win | int, {"x": 0}, "is refused by Win: x must be positive."),
        (KnownDay | int, ["tue"], "is refused by KnownDay: KeyError: 'tue'."),
        (int | list[int], ["1"], "item 1: must be a whole number, not text."),
        (Win | int, "x", 'must be an object or a whole number, not "x".'),
    ],
)
def test_the_sentence_says_what_refuses_it(annotation: Any, value: Any, said: str) -> None:
    assert said_of(annotation, value).startswith(said)


@pytest.mark.parametrize("error", [OperationalError(), TimeoutError(), MemoryError()])
def test_an_outage_is_no_refusal(error: Exception) -> None:
    with pytest.raises(type(error)):
        spec_of(refusing(error)).clean({"value": {"x": 1}})


def test_a_value_without_its_fields_is_refused() -> None:
    incomplete = Win.__new__(Win)
    with pytest.raises(InvalidPayload, match=r"cannot be written as JSON: .* no attribute 'x'"):
        as_json("payload", {"w": incomplete})

    def handler(*, w: Win = incomplete) -> None: ...

    assert PayloadSpec.from_function(handler).form().fields["w"].help_text.endswith("x.")


def winner(*, w: Win) -> None: ...


@pytest.fixture
def shop(registry: HandlerRegistry) -> None:
    registry.register(winner, name="shop.winner")


@pytest.mark.django_db
def test_no_door_lets_it_through(shop: None) -> None:
    wrong = {"w": {"x": -1}}
    with pytest.raises(InvalidTask, match=SAID):
        register_task("winner", "shop.winner", payload=wrong)
    task = register_task("winner", "shop.winner")
    for ask in (lambda: change_task(task, payload=wrong), lambda: run_task_now(task, wrong)):
        with pytest.raises((InvalidTask, InvalidPayload), match=SAID):
            ask()
    assert not Execution.objects.exists()


@pytest.mark.django_db
def test_the_admin_shows_it(shop: None, admin_client: Client) -> None:
    response = add(admin_client, handler="shop.winner", payload='{"w": {"x": -1}}')
    assert errors_of(response) == {"payload": [SAID]}
    task = register_task("winner", "shop.winner")
    Task.objects.update(payload={"w": {"x": -1}})
    assert admin_client.get(page("task_change", task.pk)).status_code == 200
    with pytest.raises(InvalidTask, match=SAID):
        change_task("winner", description="Stored before the type was strict.")


def test_e006_names_its_declaration(shop: None) -> None:
    declare("shop.winner", name="winner", payload={"w": {"x": -1}})
    [message] = found()
    assert message.id == "scheduled_tasks.E006"
    assert f"declared for shop.winner cannot be saved because of its payload: {SAID}" in message.msg
