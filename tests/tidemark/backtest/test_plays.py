"""Every arm with every seed, as far as the time reaches."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from histories import history, shop

from tidemark.backtest import simulation
from tidemark.backtest.arms import OWN, arms_of
from tidemark.backtest.plays import BLOCKS, Played, played
from tidemark.backtest.quality import quality
from tidemark.backtest.simulation import simulate
from tidemark.errors import ConfigError

PIPELINE = shop()
HISTORY = history(PIPELINE)
ARMS = arms_of(PIPELINE, (), (), ())


def test_plays_are_the_same_whatever_runs_beside_them_and_seeds_differ() -> None:
    one, two = (played(HISTORY.stream, ARMS, range(2), minutes=60, workers=workers) for workers in (1, 2))
    assert [(play.arm, play.seed, play.points) for play in one.plays] == [
        (play.arm, play.seed, play.points) for play in two.plays
    ]
    assert [(play.arm, play.seed) for play in one.plays] == [(arm.name, seed) for seed in range(2) for arm in ARMS]
    assert one.plays[0].points != one.plays[2].points
    assert (one.planned, one.stopped) == (4, "")


def test_each_figure_is_that_of_the_exam_and_of_it_without_each_tenth() -> None:
    stream = HISTORY.stream
    play = played(stream, ARMS[:1], [0], minutes=60).plays[0]
    truth = stream.target[stream.exam :]
    constant = np.tile([1 - truth.mean(), truth.mean()], (len(truth), 1))
    assert play.constant.value == pytest.approx(quality(truth, constant))
    for block, value in zip(np.array_split(np.arange(len(truth)), BLOCKS), play.constant.without, strict=True):
        assert value == pytest.approx(np.delete(truth, block).mean())
    assert len(play.points) > 2
    assert all(len(point.without) == BLOCKS for point in play.points)
    assert play.points[-1].value > play.constant.value


def test_when_the_time_is_up_what_was_done_counts_and_what_was_begun_does_not() -> None:
    done = 0

    def show(_share: float, so_far: int) -> None:
        nonlocal done
        done = so_far

    found = played(
        HISTORY.stream, ARMS, range(40), minutes=7, show=show, workers=1, clock=lambda: math.inf if done else 0.0
    )
    assert 1 <= len(found.plays) < 80
    assert found.stopped == "7 minutes were over"
    assert found.plays[0].arm == OWN


def test_a_simulation_that_was_broken_off_tells_what_it_rests_on(monkeypatch: pytest.MonkeyPatch) -> None:
    few = played(HISTORY.stream, ARMS, range(1), minutes=60)
    monkeypatch.setattr(simulation, "played", lambda *_, **__: Played(few.plays[:1], 10, "5 minutes were over"))
    found = simulate(PIPELINE, HISTORY, "h", arms=ARMS)
    assert "partial: 1 of 10 plays were done, for 5 minutes were over" in found.notes
    assert "not played: random" in found.notes
    assert "with one play nothing can be said about chance: no change is advised" in found.notes
    assert found.chosen == OWN
    monkeypatch.setattr(simulation, "played", lambda *_, **__: Played((), 10, "5 minutes were over"))
    with pytest.raises(ConfigError, match="no play was done: 5 minutes were over; give more --minutes"):
        simulate(PIPELINE, HISTORY, "h", arms=ARMS)


def test_a_feature_that_alone_tells_every_label_is_told_of() -> None:
    stream = HISTORY.stream
    features = stream.features.copy()
    features[:, 0] = stream.target
    told = replace(HISTORY, stream=replace(stream, features=features))
    (name, *_) = PIPELINE.feature_names
    note = f"'{name}' alone tells nearly every label"
    assert note in " ".join(simulate(PIPELINE, told, "h", arms=ARMS, labels=40, seeds=2).notes)
    assert note not in " ".join(simulate(PIPELINE, HISTORY, "h", arms=ARMS, labels=40, seeds=2).notes)


def test_labels_that_make_no_model_are_told_so() -> None:
    found = simulate(PIPELINE, HISTORY, "h", arms=ARMS, labels=8, seeds=2)
    assert any(
        "no model came of 8 labels: the first needs 12 (training.min_labels) or more" in note for note in found.notes
    )
    assert found.stop is None
    assert found.own.mean == pytest.approx([found.constant] * len(found.own.mean), abs=1e-4)
