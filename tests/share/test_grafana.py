"""The dashboard asks for metrics and labels that the exporter has, and for nothing else."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from underpass.observe.names import COUNTERS
from underpass.observe.sample import Sample
from underpass.observe.workers import Worker

prometheus = pytest.importorskip("underpass.observe.prometheus")

DASHBOARD: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[2] / "share" / "grafana" / "underpass.json").read_text())
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
QUERIES = [variable["query"]["query"] for variable in DASHBOARD["templating"]["list"]
           if variable["type"] == "query"]


@pytest.fixture(scope="module")
def exposed() -> dict[str, set[str]]:
    """Each metric that a worker with every counter exposes, and its labels."""
    stats = {layer: dict.fromkeys(names, 1) for layer, names in COUNTERS.items()}
    sample = Sample(Worker(1, "it", "/proc/1/fd/3", 7), 1, {"interface": "eth0", "kernel_ns": 1, "now_ns": 1},
                    stats, {"ESTABLISHED": 1})
    families = prometheus.WorkerCollector(lambda: {7: sample}).collect()
    return {one.name: set(one.labels) for family in families for one in family.samples}


@pytest.mark.parametrize("expression", EXPRESSIONS + QUERIES)
def test_each_metric_is_exposed_with_the_labels_that_are_asked_for(
        expression: str, exposed: dict[str, set[str]]) -> None:
    [name] = set(re.findall(r"\bunderpass_\w+", expression))
    asked = set(re.findall(r"(\w+)=~?\"", expression)) | set(re.findall(r"by \((\w+)\)", expression)) \
        | set(re.findall(r"label_values\(\w+, (\w+)\)", expression))
    assert name in exposed
    assert asked <= exposed[name]
    assert asked


def test_legends_name_labels_that_are_there(exposed: dict[str, set[str]]) -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            [name] = set(re.findall(r"\bunderpass_\w+", target["expr"]))
            kept = set(re.findall(r"by \((\w+)\)", target["expr"])) or exposed[name]
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= kept


def test_panels_have_places_of_their_own() -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places) == len({panel["id"] for panel in DASHBOARD["panels"]})
