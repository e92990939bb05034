"""What the pages, the dashboard and the alert rules name are metrics that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import RequestFactory, override_settings
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from scheduled_tasks.models import Rollup
from scheduled_tasks.monitoring.metrics import collector as metrics
from scheduled_tasks.monitoring.metrics.measurements import SHOWN, Measurements

pytestmark = pytest.mark.without_database

DOCS = Path(__file__).parents[2] / "docs"
DASHBOARD = DOCS / "monitoring" / "grafana-dashboard.json"
RULES = DOCS / "monitoring" / "alert-rules.yml"
#: What each sample of a histogram has in addition to the name.
SUFFIXES = ("_bucket", "_count", "_sum", "_created")


class Everything(Collector):
    """One value of each metric, with all its labels."""

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of a small world."""
        everything = Rollup(started=1, on_time=1, retries={"1": 1})
        small = Measurements(everything, tasks={"a": dict.fromkeys(SHOWN, 1)})
        small.last_successes["a"] = small.everything.start or metrics.timezone.now()
        small.queued = {"default": 1}
        small.open_alerts = {("failed", "error"): 1}
        yield from metrics.metrics_of_tasks(small)
        yield from metrics.metrics_of_everything(small)
        yield from metrics.metrics_of_now(small)
        yield from metrics.metrics_of_alerts(small)


def families() -> dict[str, tuple[str, frozenset[str]]]:
    """Return type and labels of each metric, by the name under which it is asked for."""
    registry = CollectorRegistry()
    registry.register(Everything())
    found = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        name = family.name + ("_total" if family.type == "counter" else "")
        found[name] = (family.type, frozenset(labels))
    return found


def rows(page: str, heading: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Return type and labels of each metric by a table of a page."""
    part = (DOCS / page).read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", part, re.MULTILINE)
    return {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in table}


def expressions(file: Path) -> list[str]:
    if file == RULES:
        text = RULES.read_text()
        return re.findall(r"^ +expr: (?:>-\n)?((?:.+\n)+?) +(?:for|labels):", text, re.MULTILINE)
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def test_the_contract_lists_the_metrics() -> None:
    assert rows("contract.md", "Metrics") == families()


def test_the_page_explains_each_metric() -> None:
    explained = rows("metrics.md", "Prometheus").items()
    assert {metrics.PREFIX + name: said for name, said in explained} == families()


@pytest.mark.parametrize("file", [DASHBOARD, RULES], ids=lambda file: file.name)
def test_expressions_name_metrics_that_exist(file: Path) -> None:
    known = families()
    histograms = {name for name, (kind, _) in known.items() if kind == "histogram"}
    known_samples = set(known) | {name + suffix for name in histograms for suffix in SUFFIXES}
    named = {
        name for text in expressions(file) for name in re.findall(r"scheduled_tasks_\w+", text)
    }
    assert len(named) >= 7
    assert named <= known_samples


@pytest.mark.parametrize("file", [DASHBOARD, RULES], ids=lambda file: file.name)
def test_expressions_select_by_labels_that_exist(file: Path) -> None:
    known = families()
    for text in expressions(file):
        for name, selectors in re.findall(r"(scheduled_tasks_\w+)\{([^}]*)\}", text):
            labels = set(re.findall(r"(\w+)=~?\"", selectors))
            assert labels, text
            assert labels <= known[name][1], text


def test_the_dashboard_shows_every_metric() -> None:
    text = " ".join(expressions(DASHBOARD))
    assert {name for name in families() if name not in text} == set()


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    places = [
        (x, y)
        for panel in panels
        for place in [SimpleNamespace(**panel["gridPos"])]
        for x in range(place.x, place.x + place.w)
        for y in range(place.y, place.y + place.h)
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_the_decorator_of_the_page_lets_prometheus_in(rf: RequestFactory) -> None:
    page = (DOCS / "metrics.md").read_text()
    [code] = re.findall(r"```python\n(from functools.*?)\n\nurlpatterns", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    wrap: Callable[..., Any] = names["for_prometheus"]
    view = wrap(lambda request: HttpResponse("metrics"))
    with override_settings(METRICS_TOKEN="secret"):
        given = {"Authorization": "Bearer secret"}
        assert view(rf.get("/", headers=given)).status_code == 200
        for wrong in ({}, {"Authorization": "Bearer other"}, {"Authorization": "secret"}):
            assert view(rf.get("/", headers=wrong)).status_code == 401
