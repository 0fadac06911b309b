"""What `make bench-stream` says is right is right, and what it says is wrong is wrong."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks.stream.asking import Asking
from benchmarks.stream.backlog import Worked
from benchmarks.stream.oracle import features
from benchmarks.stream.suite import asking_rows, rows_of
from benchmarks.stream.workload import Agreement, Workload
from tidemark.features.backfill import backfill
from tidemark.pipeline import load
from tidemark.simulators.fraud import simulate

PIPELINE = load(Path(__file__).parents[2] / "pipelines" / "fraud.toml")


def test_the_oracle_and_a_backfill_agree_on_each_feature_of_simulated_payments() -> None:
    events = simulate(3, 20_000).events
    ours = backfill(PIPELINE, events).select(PIPELINE.feature_names).to_numpy()
    np.testing.assert_allclose(features(events), ours, rtol=1e-12)


def test_a_prediction_that_is_missing_doubled_or_another_is_told(tmp_path: Path) -> None:
    workload = Workload(5, tmp_path / "unread")
    workload.probabilities = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    given = [(0, 0.1), (1, 0.2 + 1e-6), (3, 0.4), (3, 0.4), (4, 0.5 + 1e-12)]
    values = [
        msgspec.json.encode({"business_id": f"T1-{number:09d}", "probabilities": [1 - p, p], "late": False})
        for number, p in given
    ]
    agreement = workload.compare(iter(values), 5)
    assert (agreement.missing, agreement.doubled, agreement.different) == (1, 1, 1)
    assert not agreement.is_right


@pytest.mark.parametrize("different", [0, 1])
def test_a_figure_is_void_where_a_prediction_differs_from_event_order(different: int) -> None:
    agreement = Agreement(1_000, 0, 0, different, 0.5 * different)
    ours = Worked("tidemark", "exactly once", 1_000, 10.0, 12.0, 3.0, 500.0, agreement)
    passed = Worked("pass-through", "exactly once", 1_000, 2.5, 3.0, 3.0, 100.0, None)
    (row,) = rows_of([ours, passed], {})
    assert (row["value"], row["reached"]) == ((0.25, False) if not different else (None, False))
    assert row["detail"]["runs"][0]["different_from_event_order"] == different


@pytest.mark.parametrize(
    ("refused", "missing", "value", "reached"),
    [({}, 0, [2.5, 9.0], True), ({"UNAVAILABLE": 1}, 0, None, False), ({}, 1, None, False)],
)
def test_how_fast_callers_are_answered_is_void_where_one_is_refused_or_an_event_is_not_predicted_once(
    refused: dict[str, int], missing: int, value: list[float] | None, reached: bool
) -> None:
    asked = Asking(1_000, 60.0, [2.5, 9.0, 40.0], refused, missing, 0.001, 500.0)
    (row,) = asking_rows([asked], {})
    assert (row["id"], row["value"], row["reached"]) == ("S11 1000/s", value, reached)
