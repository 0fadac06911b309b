"""A scale that is kept: rows are scaled by it as they were with the rows that it is of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from kernels import RobustScale, robust_scale

VALUES = st.floats(-1e6, 1e6) | st.sampled_from([np.nan, np.inf, -np.inf, 0.0])


@given(arrays(np.float64, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12), elements=VALUES))
def test_its_own_rows_are_scaled_as_all_at_once(rows: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> None:
    scale = RobustScale.of(rows)
    assert np.array_equal(scale.scaled(rows), robust_scale(rows, indicators=False))
    assert np.array_equal(scale.scaled(rows[:1]), robust_scale(rows, indicators=False)[:1])


def test_another_row_is_measured_in_the_spreads_of_the_kept_ones() -> None:
    rows = np.column_stack([np.arange(101.0), np.ones(101)])
    scaled = RobustScale.of(rows).scaled(np.array([[50 + 50 / 1.349, 9.0], [np.nan, np.inf]]))
    assert scaled == pytest.approx(np.array([[1.0, 0.0], [0.0, 0.0]]))
