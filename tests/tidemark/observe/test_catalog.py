"""The registry of metrics: every metric has its unit and its meaning."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest
from outside import in_path, install

from tidemark.errors import ConfigError
from tidemark.flows import FLOWS
from tidemark.observe import catalog
from tidemark.observe.catalog import metrics
from tidemark.records.metric_kind import MetricKind


def test_no_metric_is_declared_twice() -> None:
    names = [kind.name for home in catalog._HOMES for kind in import_module(home).METRICS]
    assert sorted(names) == sorted(metrics().own)


def test_every_module_that_declares_metrics_is_in_the_catalog() -> None:
    root = Path(__file__).parents[3]
    homes = {
        ".".join(path.relative_to(root).with_suffix("").parts)
        for path in (root / "tidemark").rglob("*.py")
        if "\nMETRICS: Final = (" in path.read_text(encoding="utf-8")
    }
    assert homes == set(catalog._HOMES)


@pytest.mark.parametrize("kind", metrics().all().values(), ids=lambda kind: kind.name)
def test_a_metric_has_a_unit_a_flow_that_there_is_and_a_meaning_in_sentences(kind: MetricKind) -> None:
    assert catalog._accept(kind.name, kind) is kind
    assert kind.flow in {*FLOWS.own, "every flow with a model", "every source", "every webhook"}
    assert re.fullmatch(r"[A-Z9].*\.", kind.meaning)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ('"x", "", "tally", "stream", "X."', "lacks a unit, a flow or a meaning"),
        ('"x", "1", "tally", "streams", "X."', "its source is 'streams'; write one of labels, outcomes"),
        ('"y", "1", "tally", "stream", "X."', "its MetricKind is called 'y'; give both one name"),
    ],
)
def test_a_broken_metric_of_a_package_is_told_in_a_sentence(call: str, says: str, tmp_path: Path) -> None:
    text = f"from tidemark.records.metric_kind import MetricKind\nX = MetricKind({call})\n"
    site = install(tmp_path, "tiny", {"tiny_metrics.py": text}, {catalog.GROUP: {"x": "tiny_metrics:X"}})
    with in_path(site), pytest.raises(ConfigError, match=r"metric 'x' of package tiny can't be used") as refused:
        metrics().all()
    assert says in str(refused.value)
