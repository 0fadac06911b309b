"""What `make bench-scale` compares is the same on both sides."""

from __future__ import annotations

import numpy as np

from benchmarks.stream.oracle import features as in_event_order
from benchmarks.stream.plain_polars import features as of_polars
from tidemark.features.backfill import backfill
from tidemark.pipeline import load
from tidemark.simulators.fraud import simulate


def test_the_script_in_plain_polars_has_the_windows_of_the_pipeline() -> None:
    pipeline = load("pipelines/fraud.toml")
    events = simulate(5, 3_000).events
    theirs = of_polars(events)
    assert set(theirs.columns) == {window.name for window in pipeline.windows}
    ours = backfill(pipeline, events).select(theirs.columns)
    by_loops = in_event_order(events)[:, [pipeline.feature_names.index(name) for name in theirs.columns]]
    np.testing.assert_allclose(theirs.to_numpy(), ours.to_numpy(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(theirs.to_numpy(), by_loops, rtol=1e-9, atol=1e-9)
