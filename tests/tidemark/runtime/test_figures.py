from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemark.runtime.figures import figure, probability


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0, "0"),
        (0.123456, "0.123"),
        (2.5, "2.5"),
        (99.96, "100"),
        (1234.5678, "1,235"),
        (-1_234_567.8, "-1,234,568"),
        (0.00001234, "1.23e-05"),
        (1e300, "1e+300"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_a_figure_of_a_thousand_and_more_has_all_its_digits_and_no_exponent(value: float, words: str) -> None:
    assert figure(value) == words


@given(st.floats(-1e14, 1e14), st.integers(1, 12))
def test_a_figure_is_off_by_less_than_its_last_digit(value: float, digits: int) -> None:
    read = float(figure(value, digits).replace(",", ""))
    assert abs(read - value) <= abs(value) * 10.0 ** (1 - digits)


def test_a_figure_that_is_a_difference_has_its_sign() -> None:
    assert [figure(value, 4, signed=True) for value in (1500.0, -0.25, 0.0)] == ["+1,500", "-0.25", "+0"]


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0, "0"), (1.0, "1"), (0.5, "0.5"), (0.123456, "0.123"), (0.00123456, "0.00123"), (0.9996, "0.9996")],
)
def test_a_probability_has_three_digits_and_what_it_lacks_to_1_has_two(value: float, words: str) -> None:
    assert probability(value) == words


@given(st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_no_probability_that_is_compared_with_is_told_as_a_certainty(value: float) -> None:
    read = float(probability(value))
    assert 0 < read < 1
    assert abs(read - value) <= min(0.01 * value, 0.1 * (1 - value))
