"""Rollups: executions that end go in; figures by task and hour, day or all time come out.

``recording`` appends entries in the transactions that end executions. ``folding`` adds them up once
a minute, in one worker; what ``reading`` refuses is left out. ``expiry`` deletes old rollups.
``figures`` reads, entries that are not folded yet included. Durations are ``histograms``, which can
be merged.
"""
