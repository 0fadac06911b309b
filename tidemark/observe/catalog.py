"""Every metric that is written to `P.metrics`, with its unit and meaning. The reference is made from it.

A metric is declared in the module that writes it, in `METRICS`. Another package declares one by an entry point of the
group `tidemark.metrics` that names its `MetricKind`.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from typing import Final, get_args, get_type_hints

from tidemark.records import Metric
from tidemark.records.metric_kind import MetricKind
from tidemark.runtime.plugins import Plugins

GROUP: Final = "tidemark.metrics"
"""Group of the entry points of other packages' metrics."""
_HOMES: Final = (
    "tidemark.evaluation.quality",
    "tidemark.monitoring.figures",
    "tidemark.monitoring.labels",
    "tidemark.monitoring.steps.measure",
    "tidemark.monitoring.steps.watch_sample",
    "tidemark.monitoring.steps.check_parity",
    "tidemark.monitoring.steps.watch_labels",
    "tidemark.stream.lateness",
    "tidemark.stream.steps.rule_counts",
    "tidemark.registry.news",
    "tidemark.training.alerting",
    "tidemark.training.metrics",
    "tidemark.training.number_headline",
    "tidemark.selection.steps.outputs",
    "tidemark.deciding.step",
    "tidemark.records.source_telling",
    "tidemark.records.webhook_telling",
)
"""Modules that write metrics, in the order of the reference."""
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,59}")


def _accept(name: str, found: object) -> MetricKind:
    if not isinstance(found, MetricKind):
        raise ValueError(f"it is a {type(found).__name__}, not a MetricKind")  # noqa: TRY004 a setting
    if not _NAME.fullmatch(found.name) or (":" not in name and found.name != name):
        raise ValueError(f"its MetricKind is called {found.name!r}; give both one name of a-z, 0-9 and '_'")
    if not found.unit or not found.meaning or not found.flow:
        raise ValueError("its MetricKind lacks a unit, a flow or a meaning; write each")
    sources = get_args(get_type_hints(Metric)["source"])
    if not set(found.source.split(" or ")) <= set(sources):
        raise ValueError(f"its source is {found.source!r}; write one of {', '.join(sources)}")
    return found


@cache
def metrics() -> Plugins[MetricKind]:
    """Every metric by its name. The modules that declare them are imported at the first call.

    Returns:
        Tidemark's own metrics, and those of other packages.

    """
    kinds = [kind for home in _HOMES for kind in import_module(home).METRICS]
    return Plugins("metric", GROUP, {kind.name: kind for kind in kinds}, _accept)
