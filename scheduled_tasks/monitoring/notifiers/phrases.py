"""What people read about each condition: a headline, and what clears its alert."""

from __future__ import annotations

from typing import NamedTuple

from scheduled_tasks.runtime.conditions import Condition

#: Not a condition: what ``sendtestalert`` sends.
TEST = "test"


class Phrases(NamedTuple):
    """``headline`` has a place for the task or the subject; ``clears`` is the rest of "when …"."""

    headline: str
    clears: str = ""


PHRASES = {
    Condition.FAILED: Phrases("{about} failed", "the task succeeds"),
    Condition.DEAD_LETTER: Phrases(
        "{about} has a dead letter", "all dead letters of the task are requeued or resolved"
    ),
    Condition.MISSED: Phrases(
        "{about} missed slots", "a later slot begins in time, or a later run succeeds"
    ),
    Condition.NOT_STARTED: Phrases(
        "{about} has not started", "a later slot begins in time, or a later run succeeds"
    ),
    Condition.NO_SUCCESS: Phrases("{about} has not succeeded", "the task succeeds"),
    Condition.RUNNING_LONG: Phrases("{about} is running long", "the execution ends"),
    Condition.TOO_FAST: Phrases(
        "{about} was suspiciously fast", "the last run takes longer, or does not succeed"
    ),
    Condition.PARTIAL: Phrases(
        "{about} succeeded in part", "a later run of the task ends otherwise"
    ),
    Condition.OVER_INTERVAL: Phrases(
        "{about} takes longer than its interval", "its median is no longer than its interval"
    ),
    Condition.WORKER_LOST: Phrases("worker {about} was lost", "all its executions have ended"),
    Condition.TOO_FEW_WORKERS: Phrases("too few workers", "there are enough workers"),
    Condition.SCHEDULER_BEHIND: Phrases("the scheduler is behind", "it has caught up"),
    Condition.PARKED: Phrases("{about} is parked", "the task is no longer parked"),
    Condition.INVARIANT: Phrases("an invariant is broken: {about}", "it holds again"),
    Condition.SERVICE_DOWN: Phrases("service {about} is down", "the service answers"),
    Condition.RATE_LIMIT: Phrases("{about} exceeds its rate limit", "it stays below its limit"),
    Condition.SUCCESS: Phrases("{about} succeeded"),
    TEST: Phrases("test of the notifier {about}"),
}


def phrases_of(condition: str) -> Phrases:
    """Return what people read, also about a condition that only newer code knows."""
    return PHRASES.get(condition, Phrases(f"{condition}: {{about}}"))
