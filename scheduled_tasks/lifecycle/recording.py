"""Record: the messages of running attempts, written in batches.

No state of a task changes, so only executions are locked, in ascending id as everywhere.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.execution_log import MAX_LOGGER_LENGTH, ExecutionLog
from scheduled_tasks.models.sql.bulk import Values, update_each
from scheduled_tasks.models.sql.transactions import (
    AWAY,
    LostRaceError,
    waiting_once,
    write_alias,
)
from scheduled_tasks.models.worker import Worker
from scheduled_tasks.runtime.messages import (
    Begun,
    Checkpoint,
    Counts,
    Envelope,
    ExecutorNote,
    LogLine,
    Progress,
    StartedOver,
)
from scheduled_tasks.runtime.runs import Ending, Run
from scheduled_tasks.runtime.sanitizing import sanitized_json, sanitized_text

logger = logging.getLogger(__name__)

#: An execution's id and one of its attempts: who may write for it, and end it.
Claim = tuple[int, int]


def claim_of(said: Ending | Envelope | Run) -> Claim:
    """Return the claim under which a worker writes something of an execution."""
    return said.execution_id, said.attempt


def leave_checkpoint(claim: Claim, value: Any) -> bool:
    """Write the checkpoint of a running attempt as part of its handler's transaction.

    Return False if the execution is not running under that attempt any more.
    """
    pk, attempt = claim
    # The attempt is guard enough: each claim adds one, and what was given back is not running.
    mine = Execution.objects.on_primary().running().filter(pk=pk, attempt=attempt)
    return bool(mine.update(checkpoint=value))


def record_begin(claim: Claim) -> None:
    """Write that a claimed attempt begins, for an executor that does not send ``Begun``."""
    pk, attempt = claim
    mine = Execution.objects.on_primary().running().filter(pk=pk, attempt=attempt)
    mine.update(begin_awaited=False)


def record(sent: Sequence[Envelope], worker: Worker, *, skip: bool = False) -> dict[Claim, bool]:
    """Write messages of runs; return the (execution id, attempt) of those left out.

    True stands for what this worker still holds, but another transaction has locked the row: it is
    left out at once with ``skip``, otherwise after waiting once. False stands for what this worker
    does not hold under that attempt any more. A message that cannot be written is dropped with a
    line in the log, and stops no other.
    """
    if not sent:
        return {}
    using = write_alias()
    try:
        operation = partial(write_messages, sent, worker, using=using)
        return waiting_once(operation, skip=skip, using=using)
    except AWAY:
        # No message is to blame while the database is away. The caller keeps all of them.
        raise
    except Exception:
        if len(sent) == 1:
            logger.exception(
                "dropped a message that cannot be written, execution=%s attempt=%s",
                *claim_of(sent[0]),
            )
            return {}
    middle = len(sent) // 2
    left_out = record(sent[:middle], worker, skip=skip)
    # The messages of a run are written in order, or its latest state would be an older one.
    second = [each for each in sent[middle:] if claim_of(each) not in left_out]
    return left_out | record(second, worker, skip=skip)


def write_messages(
    sent: Sequence[Envelope], worker: Worker, *, skip: bool, using: str
) -> dict[Claim, bool]:
    """Write messages within a transaction; return the claims left out like ``record``."""
    messages: dict[Claim, list[Envelope]] = {}
    for each in sent:
        messages.setdefault(claim_of(each), []).append(each)
    ids = {execution_id for execution_id, _ in messages}
    mine = Execution.objects.using(using).held_by(str(worker.pk)).filter(pk__in=ids)
    rows = mine.only("attempt", "worker", "message_count", "log_count").locked(skip=skip)
    held = {claim: row for row in rows if (claim := (row.pk, row.attempt)) in messages}
    new = {row: unwritten(row, messages[claim]) for claim, row in held.items()}
    write_columns({row: said for row, said in new.items() if said}, using=using)
    lines = [log_line(each) for said in new.values() for each in said]
    ExecutionLog.objects.using(using).bulk_create([line for line in lines if line])
    if not (left_out := set(messages).difference(held)):
        return {}
    # Some of the others are only locked elsewhere; the rest was taken from this worker.
    still_held = set(mine.values_list("pk", "attempt"))
    return {claim: claim in still_held for claim in left_out}


def write_columns(messages: Mapping[Execution, Sequence[Envelope]], *, using: str) -> None:
    """Write what messages change on held rows, those that change the same columns together.

    Raise LostRaceError, and so retry the transaction, if one of them is not held under the same
    attempt any more.
    """
    together: dict[tuple[str, ...], list[tuple[Values, Values]]] = {}
    for row, said in messages.items():
        # Sorted, so that runs that sent the same kinds of messages share a statement.
        values = dict(sorted(changes(row, said).items()))
        guard = row.guard | {"status": row.Status.RUNNING}
        together.setdefault(tuple(values), []).append((values, guard))
    for pairs in together.values():
        if update_each(Execution, pairs, using=using) != len(pairs):
            raise LostRaceError("Another worker took an execution meanwhile.")


def unwritten(row: Execution, sent: Sequence[Envelope]) -> list[Envelope]:
    """Return what is not written yet: after a lost answer to a COMMIT, messages come again."""
    return [each for each in sent if each.number > row.message_count]


def changes(row: Execution, sent: Sequence[Envelope]) -> dict[str, Any]:
    """Return the columns that messages change, each with its latest value."""
    lines = sum(isinstance(each.message, LogLine) for each in sent)
    values: dict[str, Any] = {"message_count": sent[-1].number}
    if lines:
        values["log_count"] = row.log_count + lines
    for each in sent:
        match message := each.message:
            case Progress():
                values["progress"] = progress(message)
            case Checkpoint():
                # Not redacted: the next attempt needs it unchanged.
                values["checkpoint"] = sanitized_json(message.value)
            case ExecutorNote():
                values["reason"] = sanitized_text(message.text)
            case Counts():
                values["processed_count"] = message.processed
                values["error_count"] = message.errors
            case Begun():
                values["begin_awaited"] = False
            case StartedOver():
                values |= {"progress": None, "processed_count": 0, "error_count": 0}
    return values


def progress(said: Progress) -> Any:
    return {"done": said.done, "total": said.total, "text": sanitized_text(said.text)}


def log_line(sent: Envelope) -> ExecutionLog | None:
    """Return the row of a line of the log, None for any other message."""
    match sent.message:
        case LogLine() as line:
            return ExecutionLog(
                execution_id=sent.execution_id,
                attempt=sent.attempt,
                logged_at=line.logged_at,
                level=line.level,
                logger=sanitized_text(line.logger)[:MAX_LOGGER_LENGTH],
                message=sanitized_text(line.message),
            )
    return None
