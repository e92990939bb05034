"""How long an interval can be, and the units that it is given in."""

from __future__ import annotations

from datetime import timedelta

MIN_INTERVAL = timedelta(seconds=1)
MAX_INTERVAL = timedelta(days=366)

#: By name, from the longest.
SECONDS = {"week": 604_800, "day": 86_400, "hour": 3600, "minute": 60, "second": 1}
