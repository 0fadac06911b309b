"""What a hundred more labels bring, and when they may stop: by simulated curves whose gain is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemark.observe.more_labels import Point, next_hundred


def curve(most: float, b: float, sizes: list[int], seed: int, answers: float = 0.3) -> list[Point]:
    """Headlines on three answers of ten labels: each has the answers of the one before it, and some more."""
    rng = np.random.default_rng(seed)
    hits, asked, points = 0, 0, []
    for size in sizes:
        truth = most - b / np.sqrt(size)
        new = int(answers * size) - asked
        hits, asked = hits + int((rng.random(new) < truth).sum()), asked + new
        share = hits / asked
        points.append(Point(size, share, 4 * float(np.sqrt(max(share * (1 - share), 0.01) / asked))))
    return points


SIZES = [int(60 * 1.15**step) for step in range(22)]


def test_the_gain_of_a_curve_without_noise_is_that_of_the_next_hundred_labels() -> None:
    points = [Point(size, 0.9 - 1.5 / np.sqrt(size), 0.05) for size in SIZES]
    found = next_hundred(points)
    assert found is not None
    last = SIZES[-1]
    assert found.expected == pytest.approx(1.5 / np.sqrt(last) - 1.5 / np.sqrt(last + 100))
    assert found.most > found.expected


def test_labels_that_still_teach_are_seldom_called_enough_and_those_that_do_not_often_are() -> None:
    rising = [next_hundred(curve(0.95, 4.0, SIZES, seed)) for seed in range(60)]
    flat = [next_hundred(curve(0.85, 0.0, [*SIZES, 2_000, 2_500, 3_000], seed)) for seed in range(60)]
    assert sum(found is not None and found.enough for found in rising) <= 3
    assert sum(found is not None and found.enough for found in flat) >= 50


def test_few_champions_or_a_short_piece_of_the_curve_tell_nothing() -> None:
    assert next_hundred(curve(0.9, 1.0, SIZES[:4], 1)) is None
    assert next_hundred([Point(size, 0.8, 0.1) for size in range(100, 190, 10)]) is None
    assert next_hundred([]) is None


@given(
    st.lists(
        st.builds(Point, st.integers(-5, 10**6), st.floats(0, 1), st.floats(0, 1)),
        max_size=30,
    )
)
def test_whatever_the_points_the_gain_is_a_number_and_its_end_is_not_below_it(points: list[Point]) -> None:
    found = next_hundred(points)
    assert found is None or 0 <= found.expected <= found.most
