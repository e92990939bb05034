"""The process that ``runscheduler`` starts: it fires slots, claims executions and runs them.

In: tasks and executions, as rows; settings; NOTIFY from PostgreSQL. Out: executions and their
endings, log lines and progress, as rows; the signal ``execution_finished``.

Threads of one worker:

- the main thread: ``Scheduler`` is the loop, and ``Engine.tick`` does the work in it: write what
  runs have reported (``result_writer``), look after other workers and declarations
  (``maintenance``), fire, claim and start. It sleeps in a ``Waiter``.
- ``heartbeat``: keeps the row of the worker fresh, and the lease of its runs.
- ``listener``: wakes the main thread when new work is notified (``listen_connection``).
- ``scan``: scans for alerts and folds rollups, each on one of all workers (``scanner``,
  ``folding``).
- ``pruning``: deletes what is old, once a day on one of all workers, resting in between.
- ``watchdog``: cuts connections that hang, and ends the process if it cannot be freed.
- ``liveness file``: tells probes when the main thread, ``heartbeat`` and ``scan`` were last active,
  if asked to (``liveness_file``).

Runs have threads or processes of their own, see ``executors``. ``run_here`` makes one run in the
calling process, without a loop: that is ``runtask``. ``announcements`` has the log lines of starts
and ends.

Read first: ``engine.py``, then ``scheduler.py``.
"""

from __future__ import annotations
