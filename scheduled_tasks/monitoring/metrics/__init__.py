"""Metrics for Prometheus: the database goes in, the text of a scrape comes out.

``measurements`` and ``invariant_scans`` read, ``task_lines`` and ``collector`` give it names,
``server`` answers scrapes from a thread of a worker. ``view`` is what a project mounts. Importing
this package needs ``prometheus_client``.
"""

from __future__ import annotations

from scheduled_tasks.monitoring.metrics.collector import view

__all__ = ["view"]
