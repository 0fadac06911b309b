"""The metrics, from their catalog."""

from __future__ import annotations

from typing import Final

from tidemark.observe.catalog import metrics
from tools.reference.markdown import code, prose, table

_INTRO: Final = """# Metrics

Flows write metrics to `P.metrics`, where `P` is the pipeline's name. `tidemark status` shows the newest of each.

A record holds a value, its 95 % interval (`low` and `high`, null where there is none), the number of observations `n`,
the time `at` in microseconds since 1970-01-01 UTC, the model's version and a `detail`.

*Source* says what a figure is computed from: labels that were drawn at random, outcomes of your systems, the stream
itself, or the budget.
"""


def metrics_page() -> str:
    """The page's Markdown."""
    rows = [
        (code(each.name), each.unit, each.flow, each.source, prose(each.meaning)) for each in metrics().own.values()
    ]
    return _INTRO + "\n" + table(["metric", "unit", "written by", "source", "meaning"], rows)
