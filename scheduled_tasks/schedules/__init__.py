"""Schedules: immutable values that say when a task is due. Pure time, no models, no settings.

A text goes into ``parse`` and a ``Schedule`` comes out, whose ``next_after(moment)`` returns the
next slot in UTC. Nothing here knows Django, so everything can be called from any thread.

Read ``base`` first, then ``interval``, the simplest schedule, and ``cron``.
"""

from __future__ import annotations

from scheduled_tasks.schedules.base import Schedule
from scheduled_tasks.schedules.cron import Cron
from scheduled_tasks.schedules.interval import Interval
from scheduled_tasks.schedules.once import Once
from scheduled_tasks.schedules.parse import parse
from scheduled_tasks.schedules.zones import zone, zone_names

__all__ = ["Cron", "Interval", "Once", "Schedule", "parse", "zone", "zone_names"]
