"""The life of executions: fired, claimed, recorded, ended, withdrawn. Nothing else moves them.

Every transaction here locks in one order, the states of tasks before executions and each in
ascending id, and every UPDATE is guarded: locks are for speed, the guards and the unique slot
for correctness.
"""

from __future__ import annotations

from scheduled_tasks.lifecycle.resolving import ResolvingQuerySet


class ExecutionQuerySet(ResolvingQuerySet):
    """Sets of executions, and the verbs that move them from one status to another.

    Each module here adds its verbs to those of the one before: sets, stopping, firing, claiming,
    recording, ending, requeueing, resolving.
    """
