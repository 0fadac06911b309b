"""Simulated streams: the same by seed, in time order, with the truth beside them."""

from __future__ import annotations

from typing import get_args

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tidemark.simulators import Annotator, UseCase, simulate

USE_CASES: tuple[UseCase, ...] = get_args(UseCase)
BASE_RATES = {
    "fraud": (0.007, 0.014),
    "maintenance": (0.05, 0.10),
    "customer": (0.05, 0.13),
    "healthcare": (0.02, 0.04),
}
POSITIVE = {"fraud": "fraud", "maintenance": "fails", "customer": "leaves", "healthcare": "worsens"}


@pytest.mark.parametrize("use_case", USE_CASES)
def test_a_seed_gives_the_same_stream_again_and_another_seed_another(use_case: UseCase) -> None:
    """Deterministic by seed."""
    first, again, other = (simulate(use_case, seed, 3_000) for seed in (1, 1, 2))
    assert_frame_equal(first.events, again.events)
    assert_frame_equal(first.truth, again.truth)
    assert not first.events.equals(other.events)


@pytest.mark.parametrize("use_case", USE_CASES)
def test_events_are_in_time_order_with_their_truth_row_by_row(use_case: UseCase) -> None:
    """The business id is the first column and names the same event in both frames."""
    simulation = simulate(use_case, 3, 5_000)
    assert len(simulation.events) == len(simulation.truth) == 5_000
    assert simulation.truth["time"].is_sorted()
    business_id = simulation.events.columns[0]
    assert simulation.events[business_id].to_list() == simulation.truth["business_id"].to_list()
    assert simulation.events[business_id].is_unique().all()
    times = simulation.events["time"].str.to_datetime(time_unit="us", time_zone="UTC").dt.epoch("us")
    assert times.to_list() == simulation.truth["time"].to_list()
    assert (simulation.truth["known_at"] > simulation.truth["time"]).all()


@pytest.mark.parametrize("use_case", USE_CASES)
def test_the_positive_class_is_rare_but_there(use_case: UseCase) -> None:
    """Base rates as the docstrings say."""
    truth = simulate(use_case, 5, 40_000).truth
    low, high = BASE_RATES[use_case]
    assert low < (truth["label"] == POSITIVE[use_case]).mean() < high  # type: ignore[operator]


def test_every_kind_of_fraud_occurs() -> None:
    """Three scenarios, the third from a tenth of the stream on."""
    truth = simulate("fraud", 1, 60_000).truth.with_row_index("row")
    first = dict(truth.group_by("scenario").agg(pl.col("row").min()).iter_rows())
    assert set(first) == {0, 1, 2, 3}
    assert first[3] > 4_000


def test_an_annotator_errs_as_often_as_said_and_always_the_same_way() -> None:
    """Errors depend on the annotator and the case alone."""
    annotator = Annotator(name="ada", classes=("legitimate", "fraud"), errors={"fraud": 0.1})
    answers = [annotator.answer(f"T{case}", "fraud") for case in range(5_000)]
    assert answers == [annotator.answer(f"T{case}", "fraud") for case in range(5_000)]
    assert all(annotator.answer(f"T{case}", "legitimate") == "legitimate" for case in range(100))
    assert 0.08 < answers.count("legitimate") / len(answers) < 0.12
    other = Annotator(name="grace", classes=("legitimate", "fraud"), errors={"fraud": 0.1})
    assert answers != [other.answer(f"T{case}", "fraud") for case in range(5_000)]
