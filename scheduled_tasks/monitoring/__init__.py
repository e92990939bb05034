"""What watches the tasks, so that nobody has to.

``lifecycle`` calls ``rollups`` and ``alerts`` in the transactions that move executions. A worker
calls ``scan``, which raises and clears what no transaction shows, sends what waits in the
``outbox``, and folds what was appended into the rollups (``rollup_folding``). ``figures``,
``health`` and ``invariants`` only read; ``health_check`` asks them from outside. Nothing here moves
an execution. Read ``alerts`` first.
"""
