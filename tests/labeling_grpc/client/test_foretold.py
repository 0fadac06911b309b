"""A number that is foretold is told as people write numbers, and no finer than its interval is wide."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from labeling_grpc.client.values import Estimate, NumberRange

MINUTES = NumberRange("min", 0, 1e9, 0)
NUMBERS = st.floats(-1e12, 1e12)


@pytest.mark.parametrize(
    ("estimate", "words"),
    [
        (Estimate(41.234, 30.0, 52.5), "41.2 min: 30 to 52.5 min"),
        (Estimate(1503.2, 1450.3, 1550.9), "1,503 min: 1,450 to 1,551 min"),
        (Estimate(1_234_567.1, 1_234_500.0, 1_234_600.0), "1,234,567 min: 1,234,500 to 1,234,600 min"),
        (Estimate(1_234_567.1, 234_567.0, 2_234_567.0), "1,230,000 min: 230,000 to 2,230,000 min"),
        (Estimate(0.00123, 0.001, 0.0015), "0.00123 min: 0.001 to 0.0015 min"),
        (Estimate(-0.001, -1.0, 1.0), "0 min: -1 to 1 min"),
        (Estimate(5.0, 5.0, 5.0), "5 min: 5 to 5 min"),
        (Estimate(1e308, -1e308, 1e308), "1e+308 min: -1e+308 to 1e+308 min"),
    ],
)
def test_a_number_that_is_foretold_is_rounded_by_its_interval(estimate: Estimate, words: str) -> None:
    assert f"{MINUTES.foretold(estimate)}: {MINUTES.between(estimate)}" == words


@given(st.tuples(NUMBERS, NUMBERS, NUMBERS).map(sorted))
def test_what_people_are_told_of_a_number_is_off_by_a_hundredth_of_its_interval_at_most(ends: list[float]) -> None:
    """A thousand and more was told with an exponent and three digits, and so were the ends of its interval."""
    low, value, high = ends
    assume(high - low > 1e-6 * max(abs(low), abs(high)))
    estimate = Estimate(value, low, high)
    told = [MINUTES.foretold(estimate), *MINUTES.between(estimate).split(" to ")]
    for text, number in zip(told, (value, low, high), strict=True):
        read = float(text.removesuffix(" min").replace(",", ""))
        assert abs(read - number) <= 0.01 * (high - low) + 1e-12 * abs(number), (text, number)
        assert "e" not in text or abs(number) < 1e-4, text
