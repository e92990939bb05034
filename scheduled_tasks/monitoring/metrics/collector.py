"""Metrics for Prometheus, read from the database when they are scraped.

Counters in the memory of a process would say what that process has seen, and there are several.
This is the one module that needs ``prometheus_client``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from datetime import datetime
from time import monotonic

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from scheduled_tasks.models.sql.transactions import AWAY
from scheduled_tasks.monitoring.health.violations import Invariant
from scheduled_tasks.monitoring.metrics.invariant_scans import InvariantScans
from scheduled_tasks.monitoring.metrics.measurements import Measurements, measure
from scheduled_tasks.monitoring.metrics.task_lines import PREFIX, text_of_tasks
from scheduled_tasks.monitoring.rollups import histograms

try:
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        Metric,
    )
    from prometheus_client.exposition import CONTENT_TYPE_LATEST
    from prometheus_client.registry import Collector
except ImportError as error:
    raise ImproperlyConfigured(
        "Metrics need prometheus-client: install prometheus-client, or the extra 'metrics' of this "
        "package."
    ) from error

#: The format of the text.
CONTENT_TYPE = CONTENT_TYPE_LATEST
#: For how long an answer is given again, how long a scrape waits for another one, and how long
#: that may take before it is given up, in seconds.
CACHE_SECONDS, WAIT_SECONDS, MAX_READING_SECONDS = 10.0, 5.0, 60.0
#: Upper bounds in milliseconds: two for each power of ten, which are bounds of our histograms, too.
BUCKETS = tuple(int(10 ** (n / 2)) for n in range(2, 16))
UNAVAILABLE = "The metrics cannot be read: the database is not available.\n"


class MeasuredCollector(Collector):
    """Gives names to what was measured, except for what there is of each task."""

    def __init__(self, measured: Measurements, broken_invariants: Mapping[str, int]) -> None:
        self.measured = measured
        self.broken_invariants = broken_invariants

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        yield from metrics_of_everything(self.measured)
        yield from metrics_of_now(self.measured)
        yield from metrics_of_alerts(self.measured)
        said = "What breaks an invariant, found by two scans."
        invariants = gauge("broken_invariants", said, "invariant")
        for invariant in Invariant:
            invariants.add_metric([invariant.value], self.broken_invariants.get(invariant, 0))
        yield invariants


def metrics_of_everything(measured: Measurements) -> Iterator[Metric]:
    """Yield what is counted of all tasks together."""
    total = measured.everything
    retried = counter("retried_executions", "Executions by the number of their retries.", "retries")
    for retries, count in sorted(total.retries.items(), key=lambda item: int(item[0])):
        retried.add_metric([retries], count)
    yield retried
    said = "How long runs took."
    yield histogram("duration_seconds", said, total.durations, total.duration_sum_ms)
    said = "How late the first attempts for slots began."
    yield histogram("lateness_seconds", said, total.lateness, total.lateness_sum_ms)
    if slots := total.started + total.missed:
        reliability = gauge("trigger_reliability_ratio", "The share of slots that began in time.")
        reliability.add_metric([], total.on_time / slots)
        yield reliability


def metrics_of_now(measured: Measurements) -> Iterator[Metric]:
    """Yield what is there at this moment."""
    queued = gauge("queued_executions", "Executions that wait.", "queue")
    for queue, count in measured.queued.items():
        queued.add_metric([queue], count)
    yield queued
    for name, said, value in (
        ("running_executions", "Executions that run.", measured.running),
        (
            "oldest_due_seconds",
            "For how long the execution that was due first has waited.",
            measured.oldest_due_seconds,
        ),
        ("workers", "Workers with a heartbeat within a lease.", measured.workers),
    ):
        yield GaugeMetricFamily(PREFIX + name, said, value=value)
    tasks = gauge("tasks", "Tasks by state.", "state")
    tasks.add_metric(["enabled"], measured.enabled_tasks)
    tasks.add_metric(["disabled"], measured.disabled_tasks)
    tasks.add_metric(["parked"], measured.parked_tasks)
    yield tasks


def metrics_of_alerts(measured: Measurements) -> Iterator[Metric]:
    """Yield what is wrong, and who has not been told."""
    alerts = gauge("open_alerts", "Alerts that are not cleared.", "condition", "severity")
    for labels, count in measured.open_alerts.items():
        alerts.add_metric(labels, count)
    yield alerts
    of_alerts, heartbeats = measured.alert_deliveries, measured.heartbeat_deliveries
    everything = {state: of_alerts.get(state, 0) + count for state, count in heartbeats.items()}
    for name, said, counts in (
        ("deliveries", "Messages that are not delivered.", everything),
        ("alert_deliveries", "Messages about alerts that are not delivered.", of_alerts),
        ("heartbeat_deliveries", "Heartbeats of tasks that are not delivered.", heartbeats),
    ):
        family = gauge(name, said, "state")
        for state, count in counts.items():
            family.add_metric([state], count)
        yield family


def text_of(measured: Measurements, broken_invariants: Mapping[str, int]) -> bytes:
    """Return the answer to a scrape."""
    registry = CollectorRegistry()
    registry.register(MeasuredCollector(measured, broken_invariants))
    return text_of_tasks(measured).encode() + generate_latest(registry)


def counter(name: str, said: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(PREFIX + name, said, labels=labels)


def gauge(name: str, said: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, said, labels=labels)


def histogram(
    name: str, said: str, values: histograms.Histogram, sum_ms: int
) -> HistogramMetricFamily:
    counts = histograms.cumulative(values, BUCKETS)
    buckets = [(f"{bound / 1000:g}", count) for bound, count in zip(BUCKETS, counts, strict=True)]
    buckets.append(("+Inf", histograms.total(values)))
    return HistogramMetricFamily(PREFIX + name, said, buckets=buckets, sum_value=sum_ms / 1000)


class Exposition:
    """The text of all metrics, read at most once in CACHE_SECONDS by this process."""

    def __init__(self) -> None:
        self._reading = threading.Lock()
        self._invariants = InvariantScans()
        self._text = b""
        self._fresh_until = 0.0
        self._reading_since = 0.0

    def text(self, now: datetime | None = None) -> bytes:
        """Return the text, by default as of the database's time.

        Raise TimeoutError or what the database raises.
        """
        # One reads, the others wait for what it reads: a database that hangs keeps one thread.
        reading = self._reading
        if not reading.acquire(timeout=WAIT_SECONDS):
            if monotonic() - self._reading_since > MAX_READING_SECONDS:
                # Its connection may be dead without a sign. The next scrape gets another one.
                self._reading = threading.Lock()
            raise TimeoutError("another scrape has waited for the database for too long")
        try:
            self._reading_since = monotonic()
            if monotonic() >= self._fresh_until:
                self._text = text_of(measure(now), self._invariants.broken())
                self._fresh_until = monotonic() + CACHE_SECONDS
            return self._text
        finally:
            reading.release()

    def clear(self) -> None:
        """Read at the next scrape."""
        self._fresh_until = 0.0


exposition = Exposition()


@never_cache
@require_safe
def view(request: HttpRequest) -> HttpResponse:
    """Answer a scrape. It asks for no permission: wrap it, or let the network decide."""
    try:
        return HttpResponse(exposition.text(), content_type=CONTENT_TYPE)
    except (*AWAY, TimeoutError):
        return HttpResponse(UNAVAILABLE, status=503, content_type="text/plain; charset=utf-8")
