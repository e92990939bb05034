"""Monitoring: alerts, heartbeats, figures, health. Nothing here moves an execution.

``lifecycle`` calls ``rollups``, ``alerts`` and ``heartbeats`` in the transactions that move
executions. Workers scan for the ``conditions`` that no transaction shows, and send what waits in
the ``outbox`` by the ``notifiers``. ``metrics`` and ``health`` only read.
"""
