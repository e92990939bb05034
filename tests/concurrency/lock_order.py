"""What the statements of a transaction tell about the order in which it locks rows.

States of tasks come before executions, each in ascending id; whoever keeps to that cannot be part
of a deadlock. Nor can who skips what others hold, since it does not wait.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from tests.concurrency.interleaving import Step

STATES, EXECUTIONS = "scheduled_tasks_taskstate", "scheduled_tasks_execution"
LOCKING_SELECT = re.compile(r'\ASELECT .*? FROM "(\w+)".* FOR (NO KEY )?UPDATE')
WRITING = re.compile(r'\A(?:UPDATE|DELETE FROM|INSERT INTO) "(\w+)"')
KEY = re.compile(r'"(?:task_)?id" (?:= (%s)|IN \(([%s, ]+)\)|= ANY\((%s)\))')
#: The ids stand in a table that is made of JSON.
KEY_IN_TABLE = re.compile(r'"(?:task_)?id" = given\.(c\d+)')


@dataclass
class Locks:
    """What one transaction holds so far."""

    states: set[int] = field(default_factory=set)
    all_states: bool = False
    executions: bool = False


def wrong_order(steps: Iterable[Step]) -> list[str]:
    """Return the statements that lock rows in an order that is not the engine's."""
    complaints: list[str] = []
    by_transaction = sorted(steps, key=transaction_of)
    for _, transaction in groupby(by_transaction, key=transaction_of):
        held = Locks()
        for step in transaction:
            complaints += [f"{why}:\n        {step}" for why in wrong_step(step, held)]
    return complaints


def deadlocks(steps: Iterable[Step]) -> list[str]:
    """Return the statements that PostgreSQL broke off, because some transaction kept no order."""
    return [f"it came to a deadlock:\n        {step}" for step in steps if "deadlock" in step.error]


def transaction_of(step: Step) -> tuple[str, int]:
    return step.actor, step.transaction


def wrong_step(step: Step, held: Locks) -> list[str]:
    """Return what is wrong with what a statement locks, and add it to what is held."""
    selected = LOCKING_SELECT.match(step.sql)
    written = WRITING.match(step.sql)
    table = selected[1] if selected else written[1] if written else ""
    if table == EXECUTIONS:
        held.executions = True
    if table not in (STATES, EXECUTIONS):
        return []
    complaints = []
    if selected and not in_order(step.sql):
        complaints.append(f"rows of {table} are not locked in ascending id")
    if table == STATES:
        complaints += wrong_states(step, held)
    return [] if "SKIP LOCKED" in step.sql else complaints


def wrong_states(step: Step, held: Locks) -> list[str]:
    ids = keys(step)
    if ids is None:
        new_ones = not held.all_states
        held.all_states = True
        return ["states are locked after executions"] if new_ones and held.executions else []
    new = [pk for pk in ids if pk not in held.states] if not held.all_states else []
    complaints = []
    if new and held.executions:
        complaints.append(f"the states {new} are locked after executions")
    if held.states and any(pk < max(held.states) for pk in new):
        complaints.append(f"the states {new} are locked after {sorted(held.states)}")
    if not step.sql.startswith("SELECT") and new != sorted(new):
        complaints.append(f"the states {new} are not written in ascending id")
    held.states.update(new)
    return complaints


def in_order(sql: str) -> bool:
    """Say whether a SELECT takes its rows in ascending id."""
    order = sql.rpartition(" ORDER BY ")[2] if " ORDER BY " in sql else ""
    return bool(re.match(r'(?:"\w+"\.)?"(?:task_)?id" ASC|1 ASC', order))


def keys(step: Step) -> list[int] | None:
    """Return the ids of the rows that a statement is about, None for any."""
    if step.sql.startswith("INSERT"):
        return []  # nobody else can hold what is new
    if " IN (SELECT " in step.sql:
        return None  # all that is needed, and not told by id
    where = step.sql.rfind(" WHERE ")
    if where >= 0 and (in_table := KEY_IN_TABLE.search(step.sql, where)):
        return [row[in_table[1]] for row in table_given_to(step)]
    found = KEY.search(step.sql, max(where, 0))
    if where < 0 or found is None:
        return None
    first = step.sql[: found.start()].count("%s")
    count = found[0].count("%s")
    all_params: Sequence[Any] = step.params if step.many else [step.params]
    given = [value for params in all_params for value in params[first : first + count]]
    return [pk for value in given for pk in (value if isinstance(value, list) else [value])]


def table_given_to(step: Step) -> list[dict[str, Any]]:
    """Return the rows that a statement takes as JSON."""
    before = step.sql[: step.sql.index("json_to_recordset(%s)")].count("%s")
    rows: list[dict[str, Any]] = json.loads(step.params[before])
    return rows
