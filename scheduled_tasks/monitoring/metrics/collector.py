"""Metrics for Prometheus, read from the database when they are scraped.

Counters in the memory of a process would say what that process has seen, and there are several.
This is the one module that needs ``prometheus_client``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime
from time import monotonic

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from scheduled_tasks.models.sql.transactions import AWAY
from scheduled_tasks.monitoring.health.violations import Invariant
from scheduled_tasks.monitoring.metrics.measurements import Measurements, measure
from scheduled_tasks.monitoring.rollups import histograms
from scheduled_tasks.runtime.statuses import FINISHED, WENT_WRONG

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
PREFIX = "scheduled_tasks_"
#: Upper bounds in milliseconds: two for each power of ten, which are bounds of our histograms, too.
BUCKETS = tuple(int(10 ** (n / 2)) for n in range(2, 16))
UNAVAILABLE = "The metrics cannot be read: the database is not available.\n"


class DatabaseCollector(Collector):
    """Reads metrics from the database as of one moment."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics. Raise what the database raises."""
        measured = measure(self.now)
        yield from metrics_of_tasks(measured)
        yield from metrics_of_everything(measured)
        yield from metrics_of_now(measured)
        yield from metrics_of_alerts(measured)


def metrics_of_tasks(measured: Measurements) -> Iterator[Metric]:
    """Yield counters of each task, and when it last succeeded."""
    executions = counter("executions", "Executions and slots by final status.", "task", "status")
    seconds = counter("run_seconds", "Seconds that finished runs took.", "task")
    started = counter("slots_started", "Slots whose first attempt has ended.", "task")
    on_time = counter("slots_on_time", "Slots whose first attempt began in time.", "task")
    for task, sums in measured.tasks.items():
        for status in FINISHED:
            # Alert rules ask for these; no rate can be seen of a counter that begins at one.
            if (count := sums[status.value]) or status in WENT_WRONG:
                executions.add_metric([task, status.value], count)
        seconds.add_metric([task], sums["duration_sum_ms"] / 1000)
        started.add_metric([task], sums["started"])
        on_time.add_metric([task], sums["on_time"])
    yield from (executions, seconds, started, on_time)
    last = gauge("last_success_timestamp_seconds", "When the last success began.", "task")
    for task, moment in measured.last_successes.items():
        last.add_metric([task], moment.timestamp())
    yield last


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
    invariants = gauge("broken_invariants", "Open alerts of an invariant.", "invariant")
    for invariant in Invariant:
        invariants.add_metric([invariant.value], measured.broken_invariants[invariant.value])
    yield invariants
    deliveries = gauge("deliveries", "Messages that are not delivered.", "state")
    deliveries.add_metric(["pending"], measured.pending_deliveries)
    deliveries.add_metric(["given_up"], measured.given_up_deliveries)
    yield deliveries


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
        self._text = b""
        self._fresh_until = 0.0
        self._reading_since = 0.0

    def text(self, now: datetime) -> bytes:
        """Return the text. Raise TimeoutError or what the database raises."""
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
                registry = CollectorRegistry()
                # Asked for nothing until the text is made.
                registry.register(DatabaseCollector(now))
                self._text = generate_latest(registry)
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
        return HttpResponse(exposition.text(timezone.now()), content_type=CONTENT_TYPE)
    except (*AWAY, TimeoutError):
        return HttpResponse(UNAVAILABLE, status=503, content_type="text/plain; charset=utf-8")
