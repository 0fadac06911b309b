import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from tidemark.evaluation.design import StratifiedSample, logit_interval, student_t, wilson


def draw(
    rng: np.random.Generator, sizes: NDArray[np.int64], k: int, skip: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    """Tile, tile size, answered, and row within its tile, of k drawn from each tile."""
    tile, row = [], []
    for t, size in enumerate(sizes):
        rows = rng.choice(size, min(k, int(size)), replace=False)
        tile += [t] * len(rows)
        row += rows.tolist()
    tiles = np.array(tile)
    return tiles, sizes[tiles], rng.random(len(tiles)) >= skip, np.array(row)


def test_without_skips_mean_and_error_are_the_textbook_ones_of_stratified_sampling() -> None:
    rng = np.random.default_rng(3)
    sizes = np.array([50, 80, 20])
    tile, count, answered, _ = draw(rng, sizes, 6, 0.0)
    values = rng.normal(size=len(tile)) + tile
    estimate = StratifiedSample.of(tile, count, answered).mean(values)
    assert estimate is not None
    mean = variance = 0.0
    for t, size in enumerate(sizes):
        mine = values[tile == t]
        mean += size * mine.mean() / sizes.sum()
        variance += (size / sizes.sum()) ** 2 * (1 - 6 / size) * mine.var(ddof=1) / 6
    assert estimate.value == pytest.approx(mean)
    assert estimate.error == pytest.approx(math.sqrt(variance))
    assert estimate.high - estimate.value == pytest.approx(student_t(15) * math.sqrt(variance))


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 4), st.sampled_from([0.0, 0.3, 0.8]))
def test_answers_stand_for_every_event_whatever_was_skipped(seed: int, tiles: int, k: int, skip: float) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 30, tiles)
    tile, count, answered, _ = draw(rng, sizes, k, skip)
    sample = StratifiedSample.of(tile, count, answered)
    if answered.any():
        assert sample.weight.sum() == pytest.approx(sizes.sum())
    assert sample.size.sum() == pytest.approx(sizes.sum())


def test_a_tile_that_nobody_answered_counts_through_its_neighbours() -> None:
    tile = np.array([0, 0, 1, 1, 2, 2])
    sample = StratifiedSample.of(tile, np.full(6, 10), np.array([True, True, False, False, True, True]))
    assert sample.weight.tolist() == [5, 5, 10, 10]
    assert sample.group.tolist() == [0, 0, 1, 1]


def test_a_census_has_no_error_left() -> None:
    sample = StratifiedSample.of(np.zeros(4, np.int64), np.full(4, 4), np.ones(4, np.bool_))
    estimate = sample.mean(np.array([1.0, 2.0, 3.0, 4.0]))
    assert estimate is not None
    assert (estimate.value, estimate.error) == (2.5, 0.0)
    share = sample.share(np.array([True, False, True, True]), np.ones(4, np.bool_))
    assert share is not None
    assert (share.low, share.value, share.high) == (0.75, 0.75, 0.75)


def test_a_share_keeps_its_interval_where_every_answer_is_the_same() -> None:
    sample = StratifiedSample.of(np.repeat([0, 1], 10), np.full(20, 500), np.ones(20, np.bool_))
    share = sample.share(np.ones(20, np.bool_), np.ones(20, np.bool_))
    assert share is not None
    assert share.value == 1.0
    assert 0.75 < share.low < 0.9
    assert share.high == 1.0


def test_fewer_than_two_answers_give_no_estimate() -> None:
    sample = StratifiedSample.of(np.array([0, 1]), np.full(2, 9), np.array([True, False]))
    assert sample.mean(np.array([1.0])) is None
    two = StratifiedSample.of(np.array([0, 1]), np.full(2, 9), np.ones(2, np.bool_))
    assert two.share(np.array([True, True]), np.array([True, False])) is None


@pytest.mark.parametrize(("k", "skip", "rate"), [(5, 0.1, 0.8), (3, 0.2, 0.95), (2, 0.0, 0.5)])
def test_estimates_are_unbiased_and_intervals_cover_at_their_rate(k: int, skip: float, rate: float) -> None:
    rng = np.random.default_rng(11)
    streams, tiles = 600, 30
    errors, covered = [], 0
    for _ in range(streams):
        sizes = rng.integers(30, 90, tiles)
        truth = [rng.random(size) < rate + 0.04 * np.sin(t) for t, size in enumerate(sizes)]
        total = sum(int(values.sum()) for values in truth) / sizes.sum()
        tile, count, answered, row = draw(rng, sizes, k, skip)
        hits = np.array([truth[t][r] for t, r in zip(tile[answered], row[answered], strict=True)])
        estimate = StratifiedSample.of(tile, count, answered).share(hits, np.ones(hits.shape[0], np.bool_))
        assert estimate is not None
        errors.append(estimate.value - total)
        covered += estimate.low <= total <= estimate.high
    assert abs(np.mean(errors)) < 3 * np.std(errors) / math.sqrt(streams)
    low, high = stats.binom.ppf([0.0005, 0.9995], streams, 0.95)
    assert low - 0.01 * streams <= covered <= high + 0.015 * streams


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 30, 10_000])
def test_students_t_is_within_a_hundredth_of_the_exact_quantile(freedom: int) -> None:
    assert student_t(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=0.01)


def test_students_t_needs_a_degree_of_freedom() -> None:
    with pytest.raises(ValueError, match="freedom"):
        student_t(0)


@given(st.integers(1, 200), st.floats(0, 1))
def test_wilsons_interval_equals_scipys(n: int, share: float) -> None:
    hits = round(share * n)
    expected = stats.binomtest(hits, n).proportion_ci(method="wilson")
    low, high = wilson(hits / n, n, stats.norm.ppf(0.975))
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_the_interval_of_an_average_precision_holds_it_and_narrows_with_positives() -> None:
    few, many = logit_interval(0.3, 10), logit_interval(0.3, 1000)
    assert few[0] < many[0] < 0.3 < many[1] < few[1]
    assert logit_interval(1.0, 10) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("tile", "count", "message"),
    [([0, 0], [5, 6], "two sizes"), ([0, 0], [1, 1], "more draws"), ([0], [5, 5], "equal lengths")],
)
def test_a_draw_that_cannot_be_is_refused(tile: list[int], count: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StratifiedSample.of(np.array(tile), np.array(count), np.ones(2, np.bool_))


def test_values_that_do_not_match_the_answers_are_refused() -> None:
    sample = StratifiedSample.of(np.array([0, 0]), np.array([5, 5]), np.ones(2, np.bool_))
    with pytest.raises(ValueError, match="expected 2 values"):
        sample.mean(np.ones(3))
