"""What docs/idempotency.md shows is true."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from scheduled_tasks import TaskContext, lock
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Lock
from tests.runtime.test_context import context_of

PAGE = (Path(__file__).parents[2] / "docs/idempotency.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


class Effects(Counter[str]):
    """Counts what the examples do, each effect with what it is about."""

    def of(self, name: str) -> Any:
        """Return a function that has an effect."""

        def do(*about: object, **named: object) -> None:
            self[f"{name} {[*about, *named.values()]}"] += 1

        return do


def example(containing: str, **names: Any) -> dict[str, Any]:
    [code] = [code for code in PYTHON if containing in code]
    namespace = {"__name__": "shop.tasks", **names}
    exec(code, namespace)
    return namespace


@pytest.fixture
def effects(registry: HandlerRegistry) -> Effects:
    """Return the effects of the example, whose handlers are registered for this test."""
    return Effects()


def test_the_next_attempt_continues_from_the_checkpoint(effects: Effects) -> None:
    context = context_of(last_checkpoint=498)
    example("def export", upload=effects.of("upload"))["export"](context)
    assert effects == {"upload [498]": 1, "upload [499]": 1}
    assert context.checkpoint == 500


@pytest.mark.django_db
def test_each_month_is_billed(effects: Effects) -> None:
    context = context_of(last_checkpoint=10)
    example("def bill", write_invoices=effects.of("write"))["bill"](context)
    assert effects == {"write [10]": 1, "write [11]": 1}
    assert context.checkpoint == 12


def test_each_customer_is_reminded_once(effects: Effects) -> None:
    names = {"customers": lambda: ["ada", "bob", "ada"], "send_reminder": effects.of("mail")}
    context = context_of()
    for _ in range(2):
        example("def remind", **names)["remind"](context)
    assert effects == {"mail ['ada']": 1, "mail ['bob']": 1}


@pytest.mark.django_db
def test_a_bonus_is_credited_once(effects: Effects) -> None:
    credit = example("def credit", add_bonus=effects.of("add"))["credit"]
    context = context_of()
    for account in (7, 7, 8):
        credit(context, account=account)
    assert effects == {"add [7]": 1, "add [8]": 1}


@pytest.mark.django_db(transaction=True)
def test_prices_are_imported_under_a_lock(
    effects: Effects, capsys: pytest.CaptureFixture[str]
) -> None:
    def fetch(product: str) -> None:
        assert Lock.objects.get().name == "prices"
        effects.of("fetch")(product)

    names = {"products": lambda: ["tea", "milk"], "fetch_price": fetch}
    example("def import_prices", **names)["import_prices"]()
    assert effects.total() == 2
    with lock("prices"):
        at_once = example("def import_prices", **names)
        at_once["lock"] = lambda name, timeout: lock(name, timeout=0)
        at_once["import_prices"]()
    assert capsys.readouterr().out.startswith("The lock 'prices' is held by ")
    assert effects.total() == 2


@pytest.mark.django_db(transaction=True)
def test_an_async_handler_polls_once(effects: Effects) -> None:
    async def fetch(since: object) -> int:
        effects.of("fetch")(since)
        return 5

    poll = example("async def poll", fetch=fetch)["poll"]
    context: TaskContext = context_of(last_checkpoint=4)
    for _ in range(2):
        async_to_sync(poll)(context)
    assert effects == {"fetch [4]": 1}
    assert context.checkpoint == 5


def test_a_context_made_by_hand_needs_no_database() -> None:
    assert example("context = TaskContext")["first"] is False
