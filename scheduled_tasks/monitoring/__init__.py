"""What watches the tasks, so that nobody has to.

``lifecycle`` calls ``rollups`` and ``alerts`` in the transactions that move executions; the
maintenance of a worker calls ``scan``, which raises and clears what no transaction shows, and sends
what waits in the ``outbox``. Nothing here moves an execution. Read ``alerts`` first.

``health`` and ``invariants`` only read. ``health_check`` is what asks them from outside.
"""
