"""What a scrape says, read by prometheus_client's own parser."""

from __future__ import annotations

from datetime import datetime

from prometheus_client.parser import text_string_to_metric_families

from scheduled_tasks.monitoring.metrics import collector as metrics

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> Samples:
    """Return the values by name and labels, without what all names begin with."""
    return {
        (
            sample.name.removeprefix(metrics.PREFIX),
            tuple(sorted(sample.labels.items())),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(now: datetime) -> Samples:
    """Return what a scrape says that does not come from the cache."""
    metrics.exposition.clear()
    return parsed(metrics.exposition.text(now).decode())


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, tuple(sorted(labels.items()))))
