"""What a handler did that it probably did not mean: a warning in its log, on both executors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from example_project.shop.models import SalesReport
from scheduled_tasks import Partial, RetryLater, Skip, TaskContext
from scheduled_tasks.runtime.messages import LogLine, Message
from tests.executors.processes_in_hand import Hand
from tests.executors.runs import NOW
from tests.executors.threads_in_hand import Holder


def open_atomic() -> None:
    transaction.atomic().__enter__()


def open_manually() -> None:
    transaction.set_autocommit(False)


def open_as_sql() -> None:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")


def write_a_report() -> None:
    SalesReport.objects.create(until=NOW, orders=1, revenue=1)


def warnings_in(messages: list[Message]) -> list[str]:
    return [said.message for said in messages if isinstance(said, LogLine) and said.level == 30]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("begin", [open_atomic, open_manually, open_as_sql])
def test_a_transaction_left_open_is_a_warning(holder: Holder, begin: Callable[[], None]) -> None:
    def leave_open() -> str:
        begin()
        write_a_report()
        return "written"

    def write() -> None:
        write_a_report()

    holder.start(leave_open, 1)
    assert holder.outcome().result == "written"
    [warning] = warnings_in(holder.said[1])
    assert warning.startswith("The handler left a transaction open in the database 'default'. It")
    holder.start(write, 2)
    assert holder.outcome().status == "success"
    assert SalesReport.objects.count() == 1
    assert warnings_in(holder.said[2]) == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("error", "warned"), [(Skip("nothing to do"), 1), (ValueError("x"), 0)])
def test_only_a_skip_is_warned_of_its_transaction(
    holder: Holder, error: Exception, warned: int
) -> None:
    def leave_open() -> None:
        open_manually()
        write_a_report()
        raise error

    holder.start(leave_open, 1)
    assert holder.outcome().status == ("skipped" if warned else "failed")
    assert len(warnings_in(holder.said[1])) == warned
    assert not SalesReport.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_ended_is_no_warning(holder: Holder) -> None:
    def commit() -> None:
        transaction.set_autocommit(False)
        write_a_report()
        transaction.commit()

    holder.start(commit, 1)
    assert holder.outcome().status == "success"
    assert SalesReport.objects.count() == 1
    assert warnings_in(holder.said[1]) == []


@pytest.mark.django_db(transaction=True)
def test_a_process_warns_of_a_transaction_too(hand: Hand) -> None:
    number = hand.start("write_and_say", way="open", lines=1)
    assert hand.outcome_of(number).result == "left open"
    assert any("left a transaction open" in text for text in warnings_in(hand.said[number]))


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        ({"success": False}, '{"success": False}'),
        ({"ok": False, "error": "no route"}, '{"ok": False}'),
        ({"error": "no route"}, '{"error": …}'),
        ({"status": "Failed", "detail": "no route"}, '{"status": "Failed"}'),
        ({"status": "error", "ok": True}, ""),
        ({"status": "done"}, ""),
        ({"success": False, "ok": True}, '{"success": False}'),
        ({"success": True, "error": "one of many"}, ""),
        ({"error": ""}, ""),
        ({"error": None}, ""),
        ({"error": 3}, ""),
        ({"errors": ["no route"]}, ""),
        ({"success": 0}, ""),
        ({"result": {"success": False}}, ""),
        ([{"success": False}], ""),
        (Partial({"success": False}, "no route"), ""),
        (False, ""),
        (None, ""),
    ],
    ids=repr,
)
def test_a_result_that_denies_success_is_a_warning(holder: Holder, result: Any, shown: str) -> None:
    def job() -> Any:
        return result

    holder.start(job, 1)
    assert holder.outcome().status == ("partial" if isinstance(result, Partial) else "success")
    found = warnings_in(holder.said[1])
    if not shown:
        assert found == []
        return
    [warning] = found
    assert warning.startswith(f"The handler returned {shown}, which does not fail the run.")
    assert "Partial(result, reason)" in warning


def test_counted_errors_say_enough(holder: Holder) -> None:
    def job(context: TaskContext) -> dict[str, bool]:
        context.record(processed=1, errors=1)
        return {"success": False}

    holder.start(job, 1)
    assert holder.outcome().status == "partial"
    assert warnings_in(holder.said[1]) == []


@pytest.mark.parametrize("error", [Skip("no orders"), RetryLater(60), ValueError("no route")])
def test_an_exception_that_is_returned_is_a_warning(holder: Holder, error: Exception) -> None:
    def job() -> Exception:
        return error

    holder.start(job, 1)
    assert holder.outcome().status == "success"
    warning = warnings_in(holder.said[1])[0]
    assert warning.endswith(f"does not fail the run. Raise the {type(error).__name__} instead.")


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_cannot_be_closed_fails_nothing(hand: Hand) -> None:
    number = hand.start("replace_the_connection")
    assert hand.outcome_of(number).result == "replaced"
