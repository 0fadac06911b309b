import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemark.selection.policy import Policy, pick
from tidemark.selection.tiles import Proposal

POLICIES = get_args(Policy)


def row(number: int, score: float, x: float, y: float | None) -> Proposal:
    return Proposal(
        event_id=f"e{number:04}",
        business_id=None,
        key=None,
        time=number,
        coin=number,
        draw=number,
        score=score,
        uncertainty=None if math.isnan(score) else score,
        probabilities=None if math.isnan(score) else [1 - score / 2, score / 2],
        model="none" if math.isnan(score) else "m1",
        features={"x": x, "y": y},
        context={},
    )


def pool_of(seed: int, scored: int, cold: int) -> list[Proposal]:
    rng = np.random.default_rng(seed)
    rows = [
        row(number, float(np.round(rng.random(), 1)), float(rng.normal()), None if rng.random() < 0.2 else 1.0)
        for number in range(scored)
    ]
    rows += [row(scored + number, math.nan, float(rng.normal()), 0.0) for number in range(cold)]
    return sorted(rows, key=lambda row: row.by_score)


@pytest.mark.parametrize("policy", POLICIES)
@given(st.integers(0, 2**32 - 1), st.integers(0, 20), st.integers(0, 20), st.integers(0, 25), st.integers(0, 2**64 - 1))
@settings(deadline=None)
def test_every_policy_fills_its_slots_with_different_rows_and_picks_them_again(
    policy: Policy, seed: int, scored: int, cold: int, slots: int, draw: int
) -> None:
    pool = pool_of(seed, scored, cold)
    picks = pick(policy, pool, slots, draw)
    assert len({proposal.event_id for proposal, _ in picks}) == len(picks) == min(slots, len(pool))
    assert pick(policy, pool, slots, draw) == picks
    assert [reason == "cold" for _, reason in picks] == [math.isnan(proposal.score) for proposal, _ in picks]
    assert sum(reason == "cold" for _, reason in picks) == max(0, len(picks) - scored)


@pytest.mark.parametrize("policy", ["margin", "entropy", "least_confidence"])
def test_score_policies_take_the_head_of_the_pool(policy: Policy) -> None:
    pool = pool_of(3, 10, 0)
    assert pick(policy, pool, 4, 1) == [(proposal, "uncertain") for proposal in pool[:4]]


@pytest.mark.parametrize("policy", ["margin_kmeans", "badge"])
def test_diverse_policies_do_not_ask_twice_about_the_same_place(policy: Policy) -> None:
    places = [(-9.0, -9.0), (9.0, -9.0), (0.0, 9.0)]
    pool = [row(number, 0.9, *places[number % 3]) for number in range(30)]
    for seed in range(20):
        picks = pick(policy, pool, 3, seed)
        assert {(proposal.features["x"], proposal.features["y"]) for proposal, _ in picks} == set(places)
        assert {reason for _, reason in picks} == {"diverse"}


def test_a_cold_start_spreads_its_picks_and_takes_the_rest_as_it_comes() -> None:
    places = [(0.0, 0.0), (50.0, 50.0), (-50.0, 50.0)]
    crowd = [row(number, math.nan, *places[0]) for number in range(40)]
    apart = [row(40 + number, math.nan, *places[number % 2 + 1]) for number in range(6)]
    for seed in range(20):
        picks = pick("margin", [*crowd, *apart], 5, seed)
        found = [(proposal.features["x"], proposal.features["y"]) for proposal, _ in picks]
        assert set(found[:3]) == set(places)
        assert len({proposal.event_id for proposal, _ in picks}) == 5


def test_rows_from_before_and_after_a_change_of_features_can_be_compared() -> None:
    old = row(1, 0.5, 1.0, 1.0)
    new = Proposal(**{**{name: getattr(old, name) for name in Proposal.__slots__}, "features": {"z": 1.0}})
    assert len(pick("margin_kmeans", [old, new], 2, 1)) == 2
