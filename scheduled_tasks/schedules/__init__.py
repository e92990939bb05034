"""Schedules: immutable values that say when a task is due. Pure time, no models, no settings."""

from __future__ import annotations

from scheduled_tasks.schedules.base import Schedule
from scheduled_tasks.schedules.cron import Cron
from scheduled_tasks.schedules.interval import Interval
from scheduled_tasks.schedules.once import Once
from scheduled_tasks.schedules.parse import parse
from scheduled_tasks.schedules.zones import zone, zone_names

__all__ = ["Cron", "Interval", "Once", "Schedule", "parse", "zone", "zone_names"]
