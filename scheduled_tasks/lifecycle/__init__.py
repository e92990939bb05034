"""The life cycle of executions: every transaction that moves one, one module a verb.

A verb is a function that takes what it is told, reads and locks rows, decides, and writes. It runs
in one transaction, which is retried after a conflict (``models.sql.transactions``); callers are the
worker, ``operations`` and the admin. The rules, and which module to read for each::

    due slot ──fire──▶ queued ──claim──▶ running ──end──▶ success, partial, failed, …
                         │ ▲                │
            stop, withdraw └── retried, ────┤
                         │     given back   │ reap: its worker was lost
                         ▼                  ▼
             skipped, missed, cancelled   queued, or failed ──requeue──▶ a new execution
                                                            ──resolve──▶ settled by a person

Read ``decisions`` first (what becomes of slots, without a query), then ``firing``, ``claiming`` and
``ending``. ``transitions`` is the one place where a row changes its status, and every final status
passes ``aftermath``. ``editing`` is what follows when a task is saved or deleted, ``bulk_editing``
the same for many tasks, and ``pausing`` begins and ends global pauses.

Transactions lock states of tasks before executions, and each in ascending id. Every UPDATE is
guarded: locks are for speed, guards and unique constraints for correctness.
"""

from __future__ import annotations
