"""The rules of docs/policies.md, told a second time: plainly, slot by slot, without the package.

Nothing here is fast and nothing here knows of rows. Each method is an event that the engine takes
too, and changes the model as the documentation says. What the documentation leaves open, such as
how much jitter there is, stays open: ``earliest`` and ``latest`` of an execution bound it, and
whoever compares sets ``run_after`` to what the engine chose.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

from tests.policies.deploys import Duties, to_park, to_unpark
from tests.policies.formulas import caught_up, is_late, overlap_policy, retry_delay, too_late
from tests.policies.records import HANDLERS, SCHEDULE_FIELDS, Cover, Ending, Execution, Pause, Task
from tests.policies.turns import PROBATIONS, Turns, acquits, by_losses, longer, runs_together

MISFIRE_THRESHOLD = timedelta(seconds=60)
NO_RETRY = ("payload", "permanent")


class Rules:
    """All tasks and what became of their slots."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.executions: list[Execution] = []
        self.covers: list[Cover] = []
        self.pauses: list[Pause] = []
        #: By the name of a worker.
        self.turns: dict[str, Turns] = {}
        self.duties = Duties()
        #: The handlers in the code with which people edit tasks.
        self.known: Collection[str] = HANDLERS
        #: The executions that are queued or running, and some that were.
        self.alive: list[Execution] = []
        #: When a slot was found late, by the name of its task and the slot.
        self.late: dict[tuple[str, datetime], datetime] = {}
        #: What may have changed since somebody compared.
        self.touched: list[Execution | Cover] = []

    # What people do

    def define(self, name: str, now: datetime, **fields: Any) -> Task:
        task = Task(name=name, seen=now, changed_at=now, **fields)
        task.change({}, now)
        self.tasks[name] = task
        return task

    def edit(self, task: Task, now: datetime, **changes: Any) -> None:
        changes = {name: value for name, value in changes.items() if task.fields()[name] != value}
        if changes:
            self.change(task, now, changes)
        for parked in to_unpark([task], self.known):
            self.unpark(parked, now)

    def change(self, task: Task, now: datetime, changes: dict[str, Any]) -> None:
        self.decide(task, now)
        changed = task.change(changes, now)
        if changed & SCHEDULE_FIELDS or "enabled" in changed:
            task.seen = max(now, task.last_decided or now)
            task.cover = task.stale_clock = None
        if "enabled" in changed:
            task.quietly_off = False
        if "enabled" in changed and not task.enabled:
            self.withdraw(task, "disabled")

    def delete(self, task: Task, now: datetime) -> None:
        self.decide(task, now)
        task.deleted = True
        del self.tasks[task.name]
        for execution in self.queued(task):
            self.finish(execution, "cancelled", "deleted")

    def disable_quietly(self, task: Task) -> None:
        """Disable by a bulk update: nothing is decided, and what waits does not know yet."""
        task.stale_clock = task.next_run_at or task.stale_clock
        task.enabled, task.quietly_off = False, True

    def delete_quietly(self, task: Task) -> None:
        """Delete by a bulk deletion: likewise."""
        task.deleted = True
        del self.tasks[task.name]
        self.touched += self.of(task)

    def pause_everything(self, now: datetime, until: datetime | None) -> None:
        self.resume(now)
        self.pauses.append(Pause(begun=now, until=until))

    def resume(self, now: datetime) -> None:
        for pause in self.pauses:
            if pause.covers(now):
                pause.ended = now

    def run_now(self, task: Task, now: datetime) -> Execution:
        return self.queue(task, "manual", now, None, now)

    def requeue(self, failed: Execution, now: datetime) -> Execution | None:
        """Run once more, on a person's behalf, what failed for good and was not requeued yet."""
        if failed.status != "failed" or failed.requeued or failed.task.deleted:
            return None
        failed.requeued = True
        again = self.queue(failed.task, "requeue", now, None, now)
        again.queue, again.priority, again.handler = failed.queue, failed.priority, failed.handler
        again.probation = failed.probation or failed.task.probation
        return again

    def cancel(self, execution: Execution) -> None:
        if execution.status == "queued":
            self.finish(execution, "cancelled", "asked")
        elif execution.status == "running":
            self.touched.append(execution)
            execution.stop_asked = True

    # A look at what is due

    def look(self, now: datetime, handlers: Collection[str]) -> None:
        """Decide what has come of the tasks whose handlers are known."""
        for task in self.tasks.values():
            if task.handler in handlers:
                self.decide(task, now)

    def decide(self, task: Task, now: datetime) -> None:
        """Decide all slots of a task that have come, the oldest first."""
        if task.stale_clock is not None and task.stale_clock <= now:
            task.stale_clock = None
        slots = task.undecided(now)
        lost, go_on = self.sort_out(task, slots, now)
        triggers = {slot: "catch_up" if slot in go_on else "schedule" for slot in slots}
        taken: list[datetime] = []
        for slot in reversed([slot for slot in slots if slot not in lost]):
            policy = overlap_policy(task, triggers[slot])
            if self.takes(task, policy, len(taken)):
                taken.append(slot)
            else:
                by_itself = policy == "cancel_other" or not self.takes(task, policy, 0)
                reason = policy if policy in ("skip", "cancel_other") else "enough wait"
                lost[slot] = ("skipped", reason if by_itself else "together")
        if taken and task.overlap_policy == "cancel_other":
            self.cancel_others(task)
        for slot in slots:
            if slot in lost:
                self.cover(task, slot, *lost[slot])
            else:
                self.fire(task, slot, triggers[slot], now)
            if is_late(task, triggers[slot], lost.get(slot)):
                self.late[task.name, slot] = now
            task.seen = task.last_decided = slot

    def sort_out(
        self, task: Task, slots: list[datetime], now: datetime
    ) -> tuple[dict[datetime, tuple[str, str]], list[datetime]]:
        """Return which slots are lost before overlap is looked at, and which are caught up."""
        lost: dict[datetime, tuple[str, str]] = {}
        misfires = []
        for slot in slots:
            late = now - slot
            if pause := self.pause_over(task, slot):
                lost[slot] = ("skipped", pause)
            elif task.misfire_grace is not None and late > timedelta(seconds=task.misfire_grace):
                lost[slot] = ("missed", f"grace {task.misfire_grace}")
            elif late > MISFIRE_THRESHOLD:
                misfires.append(slot)
        go_on = caught_up(task, misfires)
        reason = f"misfire {task.misfire_policy}"
        if task.misfire_policy == "all":
            reason += f" {task.catch_up_limit}"
        lost |= {slot: ("missed", reason) for slot in misfires if slot not in go_on}
        return lost, go_on

    def pause_over(self, task: Task, slot: datetime) -> str:
        """Say which pause a slot is in, or nothing."""
        if task.paused_until is not None and slot < task.paused_until:
            return f"task until {task.paused_until} {task.pause_reason}"
        for pause in self.pauses:
            if pause.covers(slot):
                return f"everything until {pause.until}"
        return ""

    def takes(self, task: Task, policy: str, more: int) -> bool:
        """Say whether the overlap policy takes one more, next to later slots that it took."""
        active = len(self.of(task)) + more
        match policy:
            case "skip":
                return active == 0
            case "buffer_one":
                return active <= 1
            case "buffer_all":
                return active <= task.catch_up_limit
            case "cancel_other":
                return not more
        return True

    def cancel_others(self, task: Task) -> None:
        for execution in self.of(task):
            if execution.by_schedule:
                self.cancel(execution)

    def fire(self, task: Task, slot: datetime, trigger: str, now: datetime) -> None:
        """Queue an execution for a slot; its jitter ends before the next slot."""
        latest = slot + timedelta(seconds=task.jitter)
        following = next(task.slots_after(slot), None)
        if task.jitter and following is not None:
            latest = min(latest, following - timedelta(microseconds=1))
        self.queue(task, trigger, now, slot, latest)
        task.cover = None

    def queue(
        self, task: Task, trigger: str, now: datetime, slot: datetime | None, latest: datetime
    ) -> Execution:
        execution = Execution(
            task=task,
            handler=task.handler,
            trigger=trigger,
            slot=slot,
            created_at=now,
            earliest=slot or now,
            latest=latest,
            queue=task.queue,
            priority=task.priority,
            probation=task.probation,
        )
        self.executions.append(execution)
        self.alive.append(execution)
        task.alive.append(execution)
        self.touched.append(execution)
        return execution

    def cover(self, task: Task, slot: datetime, status: str, reason: str) -> None:
        """Write down a lost slot, in the row of the one before it if the reason is the same."""
        cover = task.cover
        if cover is not None and (cover.status, cover.reason) == (status, reason):
            cover.slot_until = slot
            cover.slots += 1
        else:
            cover = Cover(task=task, status=status, reason=reason, slot=slot, slot_until=slot)
            self.covers.append(cover)
        task.cover = cover
        self.touched.append(cover)

    # What workers do

    def do_chores(self, worker: str, handlers: Collection[str], now: datetime) -> None:
        """Let a worker unpark the tasks that it can run, and park those that no worker can."""
        duty = self.duties.begin(worker, handlers, now)
        if duty.sweeps(now):
            for task in to_unpark(self.tasks.values(), handlers):
                self.unpark(task, now)
            for task in to_park(self.tasks.values(), self.duties.known_lately(now), now):
                self.park(task, now)

    def park(self, task: Task, now: datetime) -> None:
        """Let a task wait for a worker that knows its handler: its slots stay undecided."""
        task.parked, task.stale_clock, task.cover = True, None, None
        task.note_change(now)
        self.withdraw(task, "parked")

    def unpark(self, task: Task, now: datetime) -> None:
        task.parked = False
        task.note_change(now)

    def claim(
        self, now: datetime, worker: str, limit: int, queues: Collection[str] | None = None
    ) -> list[Execution]:
        """Let a worker claim what it may, and end what comes to nothing when its turn comes."""
        turns = self.turns.setdefault(worker, Turns())
        turns.update(now)
        if not limit or turns.suspects:
            return []
        empty = not any(each.worker == worker for each in self.alive)
        waiting = self.waiting(queues, self.duties.duties[worker].handlers)
        waiting = [each for each in waiting if self.is_due(each, now)]
        rule = turns.rule(now, empty=empty)
        claimed = self.claim_by(rule, waiting, now, worker, limit)
        suspects_wait = any(e.probation is not None and e.status == "queued" for e in waiting)
        if rule == "leave" and suspects_wait and not claimed:
            turns.others_until = None
            claimed = self.claim_by(turns.rule(now, empty=empty), waiting, now, worker, limit)
        return claimed

    def claim_by(
        self, rule: str, waiting: list[Execution], now: datetime, worker: str, limit: int
    ) -> list[Execution]:
        """Let a worker claim in order, by what the rule says about suspects."""
        turns, claimed = self.turns[worker], []
        if rule == "leave" or any(each.alone for each in self.alive):
            waiting = [each for each in waiting if each.probation is None]
        for execution in waiting:
            if len(claimed) == limit:
                break
            if not self.may_start(execution, now) or self.comes_to_nothing(execution, now):
                continue
            if execution.probation is None:
                self.start(execution, worker)
                claimed.append(execution)
                continue
            suspects = self.suspects(waiting, now, min(limit - len(claimed), turns.at_most(now)))
            if claimed or rule == "wait":
                turns.waits_for(suspects[0], now)
                return claimed
            for suspect in suspects:
                self.start(suspect, worker)
            suspects[0].alone = rule == "alone" and suspects[0].probation > PROBATIONS[0]
            turns.claimed(suspects, now)
            return suspects
        turns.end(now)
        return claimed

    def start(self, execution: Execution, worker: str) -> None:
        execution.status, execution.worker = "running", worker
        execution.attempt += 1
        self.touched.append(execution)

    def comes_to_nothing(self, execution: Execution, now: datetime) -> bool:
        """End what may not begin any more, and say whether it was."""
        task = execution.task
        if task.deleted:
            self.finish(execution, "cancelled", "deleted")
        elif execution.by_schedule and not task.enabled:
            self.give_up(execution, "disabled")
        elif execution.by_schedule and execution.attempt == 0 and too_late(execution, now):
            self.finish(execution, "missed", f"grace {task.misfire_grace}")
            assert execution.slot is not None
            self.late[task.name, execution.slot] = now
        return not execution.active

    def suspects(self, waiting: list[Execution], now: datetime, at_most: int) -> list[Execution]:
        """Choose the next suspects: the first one, or several that were lost only once."""
        chosen: list[Execution] = []
        for execution in by_losses([each for each in waiting if each.probation is not None]):
            if len(chosen) == at_most:
                break
            task = execution.task
            alone = task.overlap_policy == "allow" or all(each.task is not task for each in chosen)
            if not (alone and self.may_start(execution, now)):
                continue
            if not self.comes_to_nothing(execution, now):
                chosen.append(execution)
        return list(takewhile(runs_together, chosen)) or chosen[:1]

    def waiting(self, queues: Collection[str] | None, handlers: Collection[str]) -> list[Execution]:
        """Return what is queued for a worker, in the order of claims."""
        self.alive = [execution for execution in self.alive if execution.active]
        found = [execution for execution in self.alive if execution.status == "queued"]
        found = [execution for execution in found if execution.handler in handlers]
        if queues is not None:
            found = [execution for execution in found if execution.queue in queues]
        return sorted(found, key=lambda e: (-e.priority, e.pk))

    def may_start(self, execution: Execution, now: datetime) -> bool:
        """Say whether the turn of an execution has come."""
        task = execution.task
        if not self.is_due(execution, now):
            return False
        if task.deleted:
            return True
        paused = task.paused_until is not None and now < task.paused_until
        if paused and execution.by_schedule:
            return False
        running = any(other.status == "running" for other in self.of(task))
        return task.overlap_policy == "allow" or not running

    def is_due(self, execution: Execution, now: datetime) -> bool:
        assert execution.run_after is not None
        return execution.run_after <= now and not any(pause.covers(now) for pause in self.pauses)

    def end(self, execution: Execution, ending: Ending, now: datetime) -> None:
        """End the attempt that runs."""
        self.touched.append(execution)
        if acquits(ending):
            execution.probation = None
        match ending.kind:
            case "failed" | "later":
                self.fail(execution, ending, now)
            case "lost":
                self.lose(execution, ending, now)
            case kind:
                execution.finish(kind)

    def fail(self, execution: Execution, ending: Ending, now: datetime) -> None:
        """Try again after a failure, if that may help and is allowed."""
        task = execution.task
        again = not (task.deleted or execution.stop_asked)
        if again and ending.kind == "later":
            execution.again(ending, now, timedelta(seconds=ending.delay))
            return
        execution.failures += 1
        hopeless = not ending.retryable or ending.category in NO_RETRY
        if again and not hopeless and execution.failures <= task.max_retries:
            wait = retry_delay(task, execution.failures)
            execution.again(ending, now, wait, wait * 1.1)
        else:
            execution.finish("failed")

    def lose(self, execution: Execution, ending: Ending, now: datetime) -> None:
        """Go on after a loss, by ``on_lost``."""
        for turns in self.turns.values():
            turns.lost_one |= ending.charged and execution in turns.suspects
        task = execution.task
        final = task.deleted or task.on_lost == "fail"
        apart = execution.alone or execution.probation == PROBATIONS[-1]
        charged = ending.charged and (final or apart)
        execution.losses += charged
        if ending.charged:
            execution.probation = longer(execution.probation)
        spent = charged and execution.losses > task.max_losses
        if execution.stop_asked:
            execution.finish("cancelled")
        elif task.deleted or task.on_lost == "fail" or spent:
            execution.finish("failed")
        else:
            execution.again(ending, now, timedelta(0))

    # Helpers

    def of(self, task: Task) -> list[Execution]:
        """Return what is queued or running of a task."""
        task.alive = [execution for execution in task.alive if execution.active]
        return task.alive

    def queued(self, task: Task) -> list[Execution]:
        return [execution for execution in self.of(task) if execution.status == "queued"]

    def withdraw(self, task: Task, reason: str) -> None:
        """End the queued executions of slots."""
        for execution in self.queued(task):
            if execution.by_schedule:
                self.give_up(execution, reason)

    def give_up(self, execution: Execution, reason: str) -> None:
        self.finish(execution, "failed" if execution.attempt else "skipped", reason)

    def finish(self, execution: Execution, status: str, reason: str) -> None:
        execution.finish(status, reason)
        self.touched.append(execution)
