from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from console.shown.formatting import Times, duration, measured, number, share


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (1234567.0, "1,234,567"),
        (-12.5, "−12.5"),
        (0.123456, "0.1235"),
        (99_999.7, "100,000"),
        (1e-9, "1.000e−09"),
        (1e20, "1.000e+20"),
        (float("nan"), "–"),
        (float("inf"), "–"),
    ],
)
def test_a_number_is_shown_as_people_write_it(value: float, shown: str) -> None:
    assert number(value) == shown


@given(st.floats(allow_nan=True, allow_infinity=True).filter(lambda each: not 1.797e308 < abs(each) < math.inf))
@example(1.797e308)
def test_any_number_is_shown_in_a_few_characters_and_reads_as_what_it_is(value: float) -> None:
    text = number(value)
    assert 0 < len(text) <= 24
    if text != "–":
        read = float(text.replace(",", "").replace("−", "-"))
        assert read == pytest.approx(value, rel=1e-3, abs=1e-300)


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (1234.5, "EUR", "1,234.50 EUR"),
        (-3.0, "EUR", "−3.00 EUR"),
        (1234.4, "JPY", "1,234 JPY"),
        (21.25, "°C", "21.25 °C"),
        (45.0, "%", "45 %"),
        (7.0, "", "7"),
        (float("nan"), "EUR", "–"),
    ],
)
def test_money_and_units(value: float, unit: str, shown: str) -> None:
    assert measured(value, unit) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0 ms"),
        (0.25, "250 ms"),
        (59.9, "1 min"),
        (61.0, "1 min 1 s"),
        (7_322.0, "2 h 2 min"),
        (86_400.0, "1 d"),
        (90_000.0, "1 d 1 h"),
        (-60.0, "−1 min"),
    ],
)
def test_durations_have_their_two_largest_units(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@given(st.floats(0, 1))
def test_a_probability_is_never_shown_as_certain_where_it_is_not(value: float) -> None:
    text = share(value)
    if 0 < value < 1:
        assert text not in {"0.0 %", "0 %", "100 %", "100.0 %"}


@pytest.mark.parametrize("us", [-(10**18), 0, 1_740_400_000_000_000, 10**18, 2**63 - 1])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin", "Asia/Kathmandu"])
def test_any_time_is_shown(us: int, zone: str | None) -> None:
    times = Times.of(zone)
    assert times.moment(us)
    assert times.minute(us)


def test_times_are_of_the_zone() -> None:
    assert Times.of("Europe/Berlin").moment(1_740_400_000_000_000) == "Mon 24 Feb 2025, 13:26:40 CET"
    assert Times.of(None).moment(1_740_400_000_000_000) == "Mon 24 Feb 2025, 12:26:40 UTC"
