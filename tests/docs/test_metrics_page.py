"""What the pages, the dashboard and the alert rules name are metrics that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from django.http import HttpResponse
from django.test import RequestFactory, override_settings
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from scheduled_tasks.models import Rollup
from scheduled_tasks.monitoring import metrics as monitoring_metrics
from scheduled_tasks.monitoring.metrics import collector as metrics
from scheduled_tasks.monitoring.metrics.measurements import SHOWN, Measurements
from scheduled_tasks.runtime.conditions import SEVERITIES
from tests.deploy.files import container

pytestmark = pytest.mark.without_database

DOCS = Path(__file__).parents[2] / "docs"
DASHBOARD = DOCS / "monitoring" / "grafana-dashboard.json"
RULES = DOCS / "monitoring" / "alert-rules.yml"
PAGE = (DOCS / "metrics.md").read_text()
#: What each sample of a histogram has in addition to the name.
SUFFIXES = ("_bucket", "_count", "_sum", "_created")


def small_world() -> str:
    """Return one value of each metric, with all its labels."""
    everything = Rollup(started=1, on_time=1, retries={"1": 1})
    small = Measurements(everything, tasks={"a": dict.fromkeys(SHOWN, 1)})
    small.last_successes["a"] = timezone.now()
    small.queued = {"default": 1}
    small.open_alerts = {("failed", "error"): 1}
    small.alert_deliveries = small.heartbeat_deliveries = {"pending": 1}
    return metrics.text_of(small, {}).decode()


def families() -> dict[str, tuple[str, frozenset[str]]]:
    """Return type and labels of each metric, by the name under which it is asked for."""
    found = {}
    for family in text_string_to_metric_families(small_world()):
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        name = family.name + ("_total" if family.type == "counter" else "")
        found[name] = (family.type, frozenset(labels))
    return found


def rows(page: str, heading: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Return type and labels of each metric by a table of a page."""
    part = (DOCS / page).read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", part, re.MULTILINE)
    return {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in table}


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(RULES.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def targets() -> list[dict[str, Any]]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target for panel in panels for target in panel["targets"]]


def expressions(file: Path) -> list[str]:
    if file == RULES:
        return [rule["expr"] for rule in rules()]
    return [target["expr"] for target in targets()]


def labels_of(expression: str) -> set[str]:
    """Return the labels that the result of an expression has."""
    [first, *_] = [*re.findall(r"by \(([^)]*)\)", expression), ""]
    return set(first.replace(",", " ").split())


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


@pytest.mark.parametrize("file", [DASHBOARD, RULES], ids=lambda file: file.name)
def test_expressions_group_by_labels_that_exist(file: Path) -> None:
    known = {label for _, labels in families().values() for label in labels} | {"le"}
    for text in expressions(file):
        assert text.count("(") == text.count(")"), text
        assert labels_of(text) <= known, text


def test_rules_are_complete_and_named_once() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    for rule in rules():
        assert set(rule) - {"for"} == {"alert", "expr", "labels", "annotations"}
        assert re.fullmatch(r"\d+[smhd]", rule.get("for", "5m"))
        assert rule["labels"]["severity"] in SEVERITIES


def test_texts_show_labels_that_results_have() -> None:
    texts = [(rule["annotations"]["summary"], rule["expr"]) for rule in rules()]
    texts += [(target["legendFormat"], target["expr"]) for target in targets()]
    for text, expression in texts:
        shown = re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)", text)
        assert set(shown) <= labels_of(expression), text


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


def test_the_view_of_the_page_lets_prometheus_in(
    rf: RequestFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: dict[str, Any] = {}
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    monkeypatch.setattr(monitoring_metrics, "view", lambda request: HttpResponse("metrics"))
    exec(code, names)
    [mounted] = names["urlpatterns"]
    with override_settings(METRICS_TOKEN="secret"):
        given = {"Authorization": "Bearer secret"}
        assert mounted.callback(rf.get("/", headers=given)).status_code == 200
        for wrong in ({}, {"Authorization": "Bearer other"}, {"Authorization": "secret"}):
            assert mounted.callback(rf.get("/", headers=wrong)).status_code == 401
    assert scrape_config("authorization")["metrics_path"] == f"/{mounted.pattern}"


def scrape_config(key: str) -> dict[str, Any]:
    """Return the job of the page that has this key."""
    files = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
    jobs: list[dict[str, Any]] = [job for file in files for job in file["scrape_configs"]]
    [found] = [job for job in jobs if key in job]
    return found


def test_prometheus_asks_the_ports_of_the_page() -> None:
    [said] = set(re.findall(r"--metrics-port (?:[\d.]+:)?(\d+)", PAGE))
    for config in scrape_config("scrape_interval")["static_configs"]:
        assert {target.rpartition(":")[2] for target in config["targets"]} == {said}
    assert f"--metrics-port=0.0.0.0:{said}" in container("shop-scheduler")["args"]


def test_prometheus_loads_the_rules() -> None:
    assert f"rule_files:\n  - {RULES.name}\n" in PAGE
