from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import dataset_of, rows, small_pipeline
from numpy.typing import NDArray

from tidemark.errors import ModelError
from tidemark.pipeline.model import Gates
from tidemark.registry.schema import ModelSchema
from tidemark.training.dataset import Dataset
from tidemark.training.gate import Learner, Probabilities, Verdict, compare, needed, not_worse
from tidemark.training.schedule import first_is_due, pause

SCHEMA = ModelSchema.of(small_pipeline())
FEATURES, TARGET = rows(400, 5)
ROWS = dataset_of(FEATURES, TARGET)
UNSEEN = np.arange(400) >= 250


def always(share: float) -> Probabilities:
    return lambda features: np.tile([1 - share, share], (len(features), 1))


def right(trust: float) -> Probabilities:
    place = {row.tobytes(): index for index, row in enumerate(FEATURES)}

    def answer(features: NDArray[np.float64]) -> NDArray[np.float64]:
        truth = np.array([TARGET[place[row.tobytes()]] for row in features])
        positive = np.where(truth == 1, trust, 1 - trust)
        return np.column_stack((1 - positive, positive))

    return answer


def judge(champion: Probabilities, challenger: Probabilities, gates: Gates | None = None) -> Verdict:
    return compare(ROWS, UNSEEN, champion, lambda _: challenger, positive=1, gates=gates or Gates())


@pytest.mark.parametrize("metric", ["log_loss", "average_precision"])
def test_a_better_challenger_replaces_the_champion(metric: str) -> None:
    verdict = judge(always(0.5), right(0.9), Gates.model_validate({"metric": metric}))
    assert verdict.passed
    assert verdict.metric == metric
    assert verdict.reason.startswith("replaces: ")
    assert verdict.n == 100


@pytest.mark.parametrize("metric", ["log_loss", "average_precision"])
def test_a_worse_challenger_is_turned_away_and_the_figures_say_why(metric: str) -> None:
    verdict = judge(right(0.9), right(0.1), Gates.model_validate({"metric": metric}))
    assert not verdict.passed
    assert verdict.reason.startswith("kept: ")
    assert verdict.low is not None
    assert verdict.high is not None
    assert verdict.low <= (verdict.difference or 0) <= verdict.high
    assert (verdict.low > 0) if metric == "log_loss" else (verdict.high < 0)
    assert set(verdict.figures()) == {
        f"{metric}_champion",
        f"{metric}_challenger",
        f"{metric}_difference",
        f"{metric}_difference_low",
        f"{metric}_difference_high",
        "compared_on",
    }


def test_an_equal_challenger_replaces_for_it_knows_more_labels() -> None:
    assert judge(right(0.8), right(0.8)).passed


def test_a_challenger_that_is_worse_within_the_tolerance_replaces() -> None:
    assert judge(right(0.9), right(0.895), Gates(tolerance=0.02)).passed
    assert not judge(right(0.9), right(0.895), Gates(tolerance=0.001)).passed


def test_too_few_new_labels_keep_the_champion() -> None:
    gates = Gates(min_holdout=30)
    verdict = compare(
        ROWS,
        np.arange(400) >= 400 - needed(gates) + 1,
        always(0.5),
        lambda _: right(0.9),
        positive=1,
        gates=gates,
    )
    assert not verdict.passed
    assert verdict.reason == "kept: 44 labels are newer than the champion; 45 are needed to compare"
    assert verdict.difference is None


def test_without_both_classes_average_precision_gives_way_to_log_loss() -> None:
    alike = dataset_of(FEATURES, np.zeros(400, np.int64))
    gates = Gates(metric="average_precision")
    verdict = compare(alike, UNSEEN, always(0.5), lambda _: always(0.1), positive=1, gates=gates)
    assert verdict.passed
    assert verdict.metric == "log_loss"


def test_nothing_is_answered_that_was_learnt_from_and_nothing_learnt_from_its_future() -> None:
    learnt: list[int] = []
    asked: list[set[int]] = []
    place = {row.tobytes(): index for index, row in enumerate(FEATURES)}

    def learn(part: Dataset) -> Probabilities:
        learnt.append(len(part))
        assert part.event_ids == ROWS.event_ids[: len(part)]

        def answer(features: NDArray[np.float64]) -> NDArray[np.float64]:
            asked.append({place[row.tobytes()] for row in features})
            return always(0.5)(features)

        return answer

    learner: Learner = learn
    compare(ROWS, UNSEEN, always(0.5), learner, positive=1, gates=Gates())
    assert learnt == [300, 350]
    assert asked == [set(range(300, 350)), set(range(350, 400))]


@given(st.lists(st.integers(0, 30), min_size=60, max_size=60), st.integers(0, 10))
def test_a_stand_in_learns_only_from_what_was_known_when_its_block_began(known: list[int], seen: int) -> None:
    rows = replace(dataset_of(FEATURES[:60], TARGET[:60]), known_at=np.array(known, np.int64))
    when = dict(zip(rows.event_ids, known, strict=True))
    place = {row.tobytes(): event for row, event in zip(rows.features, rows.event_ids, strict=True)}
    rounds: list[tuple[set[str], set[str]]] = []

    def learn(part: Dataset) -> Probabilities:
        def answer(features: NDArray[np.float64]) -> NDArray[np.float64]:
            rounds.append((set(part.event_ids), {place[row.tobytes()] for row in features}))
            return always(0.5)(features)

        return answer

    compare(rows, np.arange(60) >= seen, always(0.5), learn, positive=1, gates=Gates(min_holdout=30))
    assert len(rounds) == 2
    for learnt, asked in rounds:
        began = min(when[event] for event in asked)
        assert not learnt & asked
        assert max(when[event] for event in learnt) <= began
        assert {event for event in rows.event_ids if when[event] < began} <= learnt


def test_a_challenger_that_can_not_be_trained_keeps_the_champion() -> None:
    def fail(_: Dataset) -> Probabilities:
        raise ModelError("no")

    verdict = compare(ROWS, UNSEEN, always(0.5), fail, positive=1, gates=Gates())
    assert (verdict.passed, verdict.reason) == (False, "kept: the challenger can't be trained (no)")


def test_the_first_champion_waits_for_labels_positives_and_a_second_class() -> None:
    pipeline = small_pipeline(extra="[training]\nlearner = 'boosted'\nmin_labels = 10\nmin_positive = 2")
    assert not first_is_due(pipeline, [7, 2])
    assert not first_is_due(pipeline, [9, 1])
    assert not first_is_due(pipeline, [0, 10])
    assert first_is_due(pipeline, [8, 2])


def test_training_comes_sooner_while_labels_are_few() -> None:
    pipeline = small_pipeline(extra="[training]\nlearner = 'boosted'\nevery = 100\n[gates]\nmin_holdout = 30")
    assert [pause(pipeline, used) for used in (None, 20, 900, 1_000, 1_500, 9_000)] == [10, 45, 45, 50, 75, 100]
    assert pause(small_pipeline(extra="[training]\nlearner = 'boosted'\nevery = 5"), 20) == 5


@given(
    st.floats(0.02, 0.98), st.floats(0.02, 0.98), st.floats(0, 0.5), st.sampled_from(["log_loss", "average_precision"])
)
def test_the_sentence_says_why_a_challenger_that_looks_worse_replaces_the_champion(
    champion: float, challenger: float, tolerance: float, metric: str
) -> None:
    gates = Gates.model_validate({"metric": metric, "tolerance": tolerance})
    verdict = judge(right(champion), right(challenger), gates)
    worse_by = (verdict.difference or 0) * (1 if metric == "log_loss" else -1)
    learnt = "and it has learnt from more labels: "
    if not verdict.passed:
        expected = f"kept: the challenger is worse by more than the tolerance of {tolerance:g}, and not by chance: "
    elif worse_by < 0:
        expected = "replaces: better: "
    elif worse_by == 0:
        expected = f"replaces: as good, {learnt}"
    elif worse_by <= tolerance:
        expected = f"replaces: worse by no more than the tolerance of {tolerance:g}, {learnt}"
    else:
        expected = f"replaces: looks worse, which may be chance as the interval holds 0, {learnt}"
        assert (verdict.low or 0) <= 0 <= (verdict.high or 0)
    assert verdict.reason.startswith(expected)


def numbers_said(off: float, seed: int, count: int = 60) -> NDArray[np.float64]:
    """Estimates of 100 that are off by so much."""
    value = 100 + off * np.random.default_rng(seed).normal(size=count)
    return np.column_stack((value, value - 1, value + 1))


@pytest.mark.parametrize("metric", ["rmse", "mae"])
def test_a_challenger_whose_numbers_are_further_off_than_chance_allows_is_refused(
    metric: Literal["rmse", "mae"],
) -> None:
    gates = Gates(metric=metric)
    rows = replace(dataset_of(np.zeros((60, 1)), np.zeros(60, np.int64)), numbers=np.full(60, 100.0))

    def judged(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> Verdict:
        return not_worse(rows, np.arange(60), ours, theirs, positive=None, gates=gates)

    worse = judged(numbers_said(20, 1), numbers_said(5, 2))
    assert (worse.passed, worse.metric) == (False, metric)
    assert worse.reason.startswith("kept: the challenger is worse by more than the tolerance")
    assert worse.low is not None
    assert worse.low > 0
    better = judged(numbers_said(5, 1), numbers_said(20, 2))
    assert better.passed
    assert better.reason.startswith("replaces: better")
    alike = judged(numbers_said(5.2, 1), numbers_said(5, 2))
    assert alike.passed
    same = judged(numbers_said(5, 1), numbers_said(5, 1))
    assert (same.difference, same.passed) == (0.0, True)
    large = judged(numbers_said(200_000, 1), numbers_said(50_000, 2))
    assert re.search(r"\d\d\d,\d\d\d against the champion's \d\d,\d\d\d on the 60", large.reason), large.reason
    assert "e+" not in large.reason
