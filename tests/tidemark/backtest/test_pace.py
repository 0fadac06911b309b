"""How a number of labels is spent on a history."""

from __future__ import annotations

import numpy as np
import pytest
from histories import history, shop
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemark.backtest.pace import paced
from tidemark.errors import ConfigError

PIPELINE = shop()
HISTORY = history(PIPELINE, unlabeled=0.4)


def asked(begin: int, budget: int) -> int:
    """Cases that so large a budget asks from an event on, tile by tile."""
    stream = HISTORY.stream
    tiles = stream.tiles[begin : stream.exam][stream.askable[begin : stream.exam]]
    return int(np.minimum(np.unique(tiles, return_counts=True)[1], budget).sum())


@given(st.integers(1, int(HISTORY.stream.askable[: HISTORY.stream.exam].sum())))
@settings(max_examples=60, deadline=None)
def test_any_number_of_labels_that_there_are_is_spent_at_the_pipelines_pace_or_the_least_one_that_does(
    labels: int,
) -> None:
    pace = paced(HISTORY, PIPELINE.selection, labels)
    budget = pace.settings.get("budget", PIPELINE.selection.budget)
    assert pace.settings["total"] == pace.labels == labels
    assert asked(pace.stream.begin, budget) >= labels
    if labels <= pace.at_own:
        assert "budget" not in pace.settings
    else:
        assert pace.stream.begin == 0
        assert asked(0, budget - 1) < labels
        assert 1 <= pace.settings["explore"] <= budget


def test_no_more_is_played_than_the_labels_need() -> None:
    few, many = (paced(HISTORY, PIPELINE.selection, labels).stream for labels in (16, 60))
    assert few.begin > many.begin > 0
    assert few.exam == many.exam == HISTORY.stream.exam
    later = few.tiles[few.begin]
    assert asked(int(np.searchsorted(few.tiles, later + 1)), 8) < 16 + 8 * 2, "two tiles for answers to come"


def test_by_default_the_pipelines_own_number_is_spent_and_its_total_bounds_it() -> None:
    pace = paced(HISTORY, PIPELINE.selection)
    assert pace.labels == pace.at_own == asked(0, 8)
    bounded = shop(budget="8\ntotal = 40")
    assert paced(HISTORY, bounded.selection).labels == 40


def test_more_labels_than_there_are_is_refused_with_their_number() -> None:
    with pytest.raises(ConfigError, match=r"--budget 100,000 is more than the \d+ labels before the exam"):
        paced(HISTORY, PIPELINE.selection, 100_000)
