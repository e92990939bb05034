"""Heartbeats: requests by which a service outside hears of each run of a task.

``recording`` writes what has to be sent into the outbox, in the transactions that begin and end
runs. The outbox calls ``sending.send``, which asks ``services`` for the dialect of the address:
``healthchecks``, ``cronitor``, or ``plain`` for any other. Read ``recording`` first.
"""
