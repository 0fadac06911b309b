"""Changes are found and named, and hardly ever where there are none."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tidemark.drift.bets import Bets
from tidemark.drift.bins import KINDS, MISSING, fixed, learnt
from tidemark.drift.detector import Change, Detector, State

DAY = 86_400_000_000
Floats = NDArray[np.float64]
NAMES = ["amount", "pace", "kind", "gap", "far", "near"]


def stream(rng: np.random.Generator, n: int) -> Floats:
    """Six columns: skewed, plain, of few values, with gaps, and two that go together."""
    far = rng.normal(size=n)
    gap = np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n))
    near = 0.8 * far + 0.6 * rng.normal(size=n)
    return np.column_stack(
        [rng.lognormal(size=n), rng.normal(size=n), rng.integers(0, 4, n).astype(float), gap, far, near]
    )


def fed(
    detector: Detector, rows: Floats, *, begin: int = 0, a_day: int = 2_000, seed: int = 0, hour: float | None = None
) -> tuple[int, Change] | None:
    """The first alarm, and at which row."""
    tosses = np.random.default_rng(seed).integers(0, 2**63, len(rows)).tolist()
    for at, (row, toss) in enumerate(zip(rows, tosses, strict=True)):
        time = int((begin + at) * DAY / a_day) if hour is None else int(hour * DAY / 24)
        if change := detector.take(row, time, toss):
            return at, change
    return None


def shifted(rows: Floats, _: np.random.Generator) -> Floats:
    rows[:, 1] += 0.5
    return rows


def wider(rows: Floats, _: np.random.Generator) -> Floats:
    rows[:, 1] *= 1.8
    return rows


def missing(rows: Floats, rng: np.random.Generator) -> Floats:
    rows[rng.random(len(rows)) < 0.1, 0] = np.nan
    return rows


def unseen(rows: Floats, rng: np.random.Generator) -> Floats:
    rows[rng.random(len(rows)) < 0.1, 2] = 9.0
    return rows


def apart(rows: Floats, rng: np.random.Generator) -> Floats:
    rows[:, 5] = rng.permutation(rows[:, 5])
    return rows


@pytest.mark.parametrize(
    ("change", "name", "how"),
    [
        (shifted, "pace", "higher"),
        (wider, "pace", "spread differently"),
        (missing, "amount", "missing more often"),
        (unseen, "kind", "values never seen before"),
        (apart, "far with near", "go together differently"),
    ],
)
def test_a_change_is_found_within_a_few_hundred_rows_and_named(
    change: Callable[[Floats, np.random.Generator], Floats], name: str, how: str
) -> None:
    rng = np.random.default_rng(7)
    detector = Detector(NAMES, alarms=0.5)
    assert fed(detector, stream(rng, 3_000)) is None
    found = fed(detector, change(stream(rng, 1_000), rng), begin=3_000, seed=1)
    assert found is not None
    assert found[0] < 600
    assert found[1].moved[0].name == name
    assert found[1].moved[0].how.startswith(how)


def test_false_alarms_come_no_more_often_than_allowed() -> None:
    """Of a detector that may err once in ten days, over twenty streams of twenty days each."""
    alarms = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        detector = Detector(NAMES[:3], alarms=36.525, first=32)
        rows, begin = stream(rng, 2_000)[:, :3], 0
        while begin < len(rows):  # twenty days of a hundred rows
            found = fed(detector, rows[begin:], begin=begin, a_day=100, seed=seed)
            if found is None:
                break
            begin += found[0] + 1
            alarms += 1
    assert alarms <= 55  # 40 on average at most; 55 are 2.4 standard deviations of a Poisson number above


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_no_bet_gains_on_average_while_numbers_are_uniform(seed: int, upward: bool) -> None:
    """Integrated over all numbers, whatever came before, what a bet gains is one."""
    rng = np.random.default_rng(seed)
    bets = Bets(1, upward=upward)
    for number in rng.beta(rng.uniform(0.3, 3.0), rng.uniform(0.3, 3.0), size=40):
        bets.take(np.array([number]), 0.01)
    points = (np.arange(100_000) + 0.5) / 100_000
    many = Bets(len(points), upward=upward)
    many.evidence[:] = bets.evidence
    many.seen[:] = bets.seen
    many.take(points, 0.0)
    assert many.evidence.mean(axis=0) == pytest.approx(bets.evidence[0], rel=1e-3)


def test_a_night_is_no_change_where_days_repeat_and_is_one_where_they_do_not() -> None:
    rng = np.random.default_rng(3)
    rows = stream(rng, 10_000)
    rows[:, 1] += np.where(np.arange(len(rows)) % 2_000 < 700, 1.5, 0.0)
    assert fed(Detector(NAMES, alarms=0.5, season=DAY), rows) is None
    assert fed(Detector(NAMES, alarms=0.5), rows) is not None


def test_after_an_alarm_what_has_come_is_how_things_are() -> None:
    rng = np.random.default_rng(4)
    detector = Detector(NAMES, alarms=0.5)
    fed(detector, stream(rng, 2_000))
    found = fed(detector, shifted(stream(rng, 1_000), rng), begin=2_000)
    assert found is not None
    begin = 2_001 + found[0]
    assert fed(detector, shifted(stream(rng, 4_000), rng), begin=begin, seed=5) is None


def test_a_gap_of_a_year_is_no_evidence() -> None:
    rng = np.random.default_rng(5)
    detector = Detector(NAMES, alarms=0.5)
    fed(detector, stream(rng, 1_000))
    assert fed(detector, stream(rng, 300), begin=800_000) is None


@pytest.mark.parametrize("rows", [0, 100, 700])
def test_a_state_that_is_restored_goes_on_as_if_nothing_had_happened(rows: int) -> None:
    rng = np.random.default_rng(6)
    first, rest = stream(rng, rows), shifted(stream(rng, 1_500), rng)
    whole, cut = Detector(NAMES, alarms=0.5, season=DAY), Detector(NAMES, alarms=0.5, season=DAY)
    fed(whole, first, hour=3)
    cut.restore(whole.state())
    assert fed(whole, rest, hour=3) == fed(cut, rest, hour=3)
    assert whole.state() == cut.state()


@given(
    st.builds(
        State,
        rows=st.integers(0, 9),
        began=st.integers(-1, 9),
        clock=st.integers(0, 9),
        first=st.binary(max_size=64),
        counts=st.binary(max_size=64),
    )
)
def test_a_strangers_state_is_refused_and_leaves_a_detector_that_works(state: State) -> None:
    detector = Detector(["x"], alarms=0.5, first=4)
    try:
        detector.restore(state)
    except ValueError:
        detector.reset()
    for at in range(60):
        detector.take(np.array([float(at % 7)]), at, at)
    assert math.isfinite(detector.level)


@given(st.lists(st.one_of(st.floats(allow_infinity=False), st.sampled_from([0.0, 1.0, math.nan])), min_size=1))
def test_bins_hold_every_value_and_keep_its_order(values: list[float]) -> None:
    column = np.array(values)[:, None]
    bins = learnt(column, together=False)
    places = [int(bins.of(row)[0]) for row in column]
    assert all((place == MISSING) == math.isnan(value) for place, value in zip(places, values, strict=True))
    assert all(0 <= place < KINDS for place in places)
    known = sorted((value, place) for value, place in zip(values, places, strict=True) if not math.isnan(value))
    assert [place for _, place in known] == sorted(place for _, place in known)


def test_classes_have_a_bin_each() -> None:
    bins = fixed(np.arange(5.0))
    assert len({int(bins.of(np.array([value]))[0]) for value in (-1.0, 0.0, 1.0, 2.0, 3.0, 4.0)}) == 6
