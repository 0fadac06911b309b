"""What labels say of a class, and how much of the budget the start takes by it, on simulated answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemark.pipeline.model import Start
from tidemark.selection.evidence import RARE, pays, rare
from tidemark.selection.start import looks_for_positives, share_of_odd

TILES, ACTIVE, RESERVED = 16, 7, 1


def by_integration(found: int, draws: int) -> float:
    """`rare` by summing over a million shares drawn log-uniformly: no grid, no code in common."""
    shares = np.exp(np.random.default_rng(5).uniform(np.log(0.001), np.log(0.5), 1_000_000))
    likelihood = shares**found * (1 - shares) ** (draws - found)
    return float(likelihood[shares < RARE].sum() / likelihood.sum())


@pytest.mark.parametrize(("found", "draws"), [(0, 0), (0, 8), (1, 4), (1, 12), (3, 30), (9, 60)])
def test_a_class_is_rare_with_its_posterior_probability(found: int, draws: int) -> None:
    assert rare(found, draws) == pytest.approx(by_integration(found, draws), abs=0.03)


@given(st.integers(0, 40), st.integers(0, 200), st.integers(0, 40), st.integers(0, 200))
def test_more_of_a_class_by_chance_never_speaks_for_looking_and_more_by_choice_never_against(
    found: int, others: int, found_by_choice: int, other_choices: int
) -> None:
    draws, choices = found + others, found_by_choice + other_choices
    assert 0 <= rare(found, draws) <= 1
    assert rare(found + 1, draws + 1) <= rare(found, draws + 1) + 1e-9
    given_now = pays(found, draws, found_by_choice, choices)
    assert 0 <= given_now <= 1
    assert pays(found + 1, draws + 1, found_by_choice, choices) <= given_now + 1e-9
    assert pays(found, draws, found_by_choice + 1, choices + 1) >= given_now - 1e-9


def drawn_of_the_first_tiles(rate: float, lift: float, seed: int) -> list[int]:
    """Cases drawn at random in each tile, where odd events hold `lift` times the odds of positives."""
    rng = np.random.default_rng(seed)
    odds = lift * rate / (1 - rate)
    drawn, chosen, cases = [0, 0], [0, 0], []
    for tile in range(TILES):
        wanted = share_of_odd(Start(), drawn, chosen, 1) * ACTIVE
        odd = math.floor((tile + 1) * wanted) - math.floor(tile * wanted)
        by_chance = int((rng.random(RESERVED + ACTIVE - odd) < rate).sum())
        by_choice = int((rng.random(odd) < odds / (1 + odds)).sum())
        drawn = [drawn[0] + RESERVED + ACTIVE - odd - by_chance, drawn[1] + by_chance]
        chosen = [chosen[0] + odd - by_choice, chosen[1] + by_choice]
        cases.append(RESERVED + ACTIVE - odd)
    return cases


def mean_share(rate: float, lift: float, first: int, last: int) -> float:
    """Share of the cases of some tiles that is drawn at random, over 200 streams."""
    runs = np.array([drawn_of_the_first_tiles(rate, lift, seed) for seed in range(200)])
    return float(runs[:, first:last].mean()) / (RESERVED + ACTIVE)


@pytest.mark.parametrize("lift", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("rate", [0.2, 0.3, 0.5])
def test_a_common_class_is_drawn_by_chance_from_the_second_tile_on_whatever_is_odd(rate: float, lift: float) -> None:
    assert mean_share(rate, lift, 1, 3) > 0.6
    assert mean_share(rate, lift, 3, TILES) > 0.8


@pytest.mark.parametrize("rate", [0.005, 0.01, 0.03])
def test_a_rare_class_that_odd_events_hold_more_of_has_most_of_the_budget(rate: float) -> None:
    assert mean_share(rate, 16, 4, TILES) < 0.5


@pytest.mark.parametrize(("rate", "least"), [(0.03, 0.65), (0.1, 0.8), (0.3, 0.95)])
def test_decoys_are_left_as_soon_as_chance_finds_more(rate: float, least: float) -> None:
    assert mean_share(rate, 1 / 8, 4, TILES) > least


def test_a_young_model_looks_for_a_rare_class_as_far_as_it_finds_it() -> None:
    start = Start()
    found = looks_for_positives(start, [40, 8], [12, 0], 1)
    lost = looks_for_positives(start, [60, 2], [22, 2], 1)
    assert found is not None
    assert lost is not None
    assert (found.classes, lost.classes) == ([1], [1])
    assert found.share > 0.9
    assert lost.share < 0.2
    assert looks_for_positives(start, [30, 6], [10, 4], 1) is None  # chance finds it


def test_with_many_classes_those_that_chance_does_not_find_are_looked_for() -> None:
    drawn = [30, 15, 12, 1, 0, 0]
    known = [a + b for a, b in zip(drawn, [4, 2, 2, 3, 1, 0], strict=True)]
    sought = looks_for_positives(Start(), known, drawn, 1)
    assert sought is not None
    assert sought.classes == [3, 4, 5]
    assert sought.share > 0.9
