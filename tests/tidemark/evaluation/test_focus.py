"""The focused draw: chances that are exact, figures that are true, and intervals that are narrower for it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import label_of
from msgspec.structs import replace
from numpy.typing import NDArray

from benchmarks.labels.proposal_streams import pipeline
from kernels import coin
from tidemark.evaluation.draw import shares_of, weights_of
from tidemark.evaluation.focus import FLOOR, MARK, inclusion, size_of, sizes, stretched
from tidemark.evaluation.headline import Headline, headline
from tidemark.evaluation.measures import Sample
from tidemark.evaluation.metrics import average_precision
from tidemark.evaluation.quality import quality
from tidemark.records import Label
from tidemark.selection.choice import Pick, choose
from tidemark.selection.clock import Watermarks
from tidemark.selection.proposals import explore_rows
from tidemark.selection.tiles import OpenTile, Part, Proposal

Floats = NDArray[np.float64]


def size(positive: float) -> float:
    """Of an event of two classes, in so many words: by its likeliest class, for 1 less very little is 1."""
    likeliest = max(positive, 1 - positive)
    return 0.1 + 0.9 * 2 * math.sqrt(likeliest * (1 - likeliest))


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.floats(0, 1)), min_size=1, max_size=30))
def test_a_stretched_coin_is_the_coin_over_the_size_and_never_larger(events: list[tuple[int, float]]) -> None:
    coins = np.array([coin for coin, _ in events], np.uint64)
    positive = np.array([each for _, each in events])
    found = stretched(coins, np.column_stack((1 - positive, positive)))
    for (whole, share), cut in zip(events, found.tolist(), strict=True):
        assert cut <= whole * 1.000001
        assert cut == pytest.approx(whole * FLOOR / size(share), rel=1e-9, abs=1)
    assert stretched(coins, None).tolist() == pytest.approx((coins.astype(float) * FLOOR).tolist(), abs=1)


@given(st.none() | st.lists(st.floats(), max_size=4), st.integers(0, 2**64 - 1))
def test_whatever_a_record_says_an_event_has_a_size_and_a_chance(probabilities: list[float] | None, left: int) -> None:
    assert FLOOR <= size_of(probabilities) <= 1
    assert 0 < inclusion(probabilities, left) <= 1


def test_several_classes_have_sizes_too() -> None:
    table = np.array([[1.0, 0.0, 0.0], [0.4, 0.3, 0.3], [0.9, 0.05, 0.05]])
    assert sizes(table) == pytest.approx([FLOOR, 1.0, 0.1 + 0.9 * 0.6])


class World:
    """Events of a rare class, and what a model says of them. Tiles are drawn from them again and again."""

    def __init__(self, seed: int, rate: float = 0.05, skill: float = 0.75) -> None:
        self.rng = np.random.default_rng(seed)
        self.truth = (self.rng.random(40_000) < rate).astype(np.int64)
        score = self.rng.normal(size=40_000) + skill * (2 * self.truth - 1)
        self.positive = 1 / (1 + np.exp(-(2 * skill * score + math.log(rate / (1 - rate)))))
        self.policy = pipeline(budget=4, explore=3, draw="focused", policy="margin").selection

    def tile(self, number: int, events: int) -> tuple[NDArray[np.int64], list[Pick]]:
        rows = self.rng.integers(0, 40_000, events)
        table = np.column_stack((1 - self.positive[rows], self.positive[rows]))
        order = stretched(coin(number, 0, np.arange(events), 1), table)
        proposals = [
            Proposal(
                event_id=f"p.raw-{number}-{place}-0a1b2c3d",
                business_id=None,
                key=None,
                time=0,
                coin=int(order[place]),
                draw=place,
                score=float(rows[place]),
                uncertainty=0.0,
                probabilities=table[place].tolist(),
                model="m1",
                features={},
                context={},
            )
            for place in np.argsort(order)[: explore_rows(self.policy)].tolist()
        ]
        tile = OpenTile(number, 0, Watermarks.unknown(1), number, explore_rows(self.policy) - 1, 0)
        tile.merge(Part(number, events, len(proposals), events, proposals, []), "m1")
        return rows, list(choose(tile, self.policy, None))

    def labels(self, tiles: int, events: int) -> list[Label]:
        found = []
        for number in range(tiles):
            rows, picks = self.tile(number, events)
            for pick in picks:
                place = int(pick.proposal.event_id.split("-")[2])
                made = label_of(place, [0.0, 0.0, 0.0], ["no", "yes"][self.truth[rows[place]]])
                found.append(
                    replace(
                        made,
                        event_id=pick.proposal.event_id,
                        reason="explore",
                        inclusion_probability=pick.inclusion_probability,
                        tile=number,
                        tile_count=events,
                        policy="1" + MARK,
                        probabilities=pick.proposal.probabilities,
                        model="m1",
                    )
                )
        return found


def test_each_event_is_counted_by_the_chance_that_it_had() -> None:
    """Horvitz and Thompson: the inverse chances of those drawn sum to the events, and to the positives."""
    world, events, positives, seen = World(1), [], [], []
    for number in range(600):
        rows, picks = world.tile(number, 50)
        inverse = [1 / (pick.inclusion_probability or 0) for pick in picks]
        truth = [world.truth[rows[int(pick.proposal.event_id.split("-")[2])]] for pick in picks]
        events.append(sum(inverse))
        positives.append(sum(a * b for a, b in zip(inverse, truth, strict=True)) - world.truth[rows].sum())
        seen += truth
    assert abs(np.mean(events) - 50) < 4 * np.std(events) / math.sqrt(600)
    assert abs(np.mean(positives)) < 4 * np.std(positives) / math.sqrt(600)
    assert np.mean(seen) > 1.5 * world.truth.mean()


def test_weights_and_figures_of_each_version_are_true_to_all_events() -> None:
    world = World(2)
    labels = world.labels(1_500, 60)
    weights, shares = weights_of(labels), shares_of(labels)
    positive = np.array([label.label == "yes" for label in labels])
    weight = np.array([weights[label.event_id] for label in labels])
    assert (weight * positive).sum() / weight.sum() == pytest.approx(world.truth.mean(), rel=0.12)
    assert weight.sum() == pytest.approx(1_500 * 60, rel=0.05)
    assert np.mean(list(shares.values())) == pytest.approx(1.0, abs=0.1)
    found = {metric.name: metric for metric in quality(labels, classes=["no", "yes"], positive="yes", at=0)}
    right = (world.positive > 0.5) == (world.truth == 1)
    for name, truth in (("accuracy", right.mean()), ("base_rate", world.truth.mean())):
        assert 0 <= (found[name].low or 0) <= truth <= (found[name].high or 0) <= 1
    whole = average_precision(world.truth == 1, world.positive)
    assert found["average_precision"].value == pytest.approx(whole, abs=0.08)


def test_a_uniform_draw_has_equal_shares() -> None:
    labels = [replace(label, policy="1") for label in World(3).labels(5, 40)]
    assert set(shares_of(labels).values()) == {1.0}


def drawn(world: World, count: int, *, focused: bool) -> Headline:
    share = sizes(np.column_stack((1 - world.positive, world.positive))) if focused else np.ones(40_000)
    rows = world.rng.choice(40_000, count, p=share / share.sum())
    table = np.column_stack((1 - world.positive[rows], world.positive[rows]))
    return headline(Sample(world.truth[rows], table, 1 / share[rows]), ["no", "yes"], "yes")


@pytest.mark.parametrize(("rate", "count"), [(0.05, 200), (0.5, 60)])
def test_the_headline_holds_the_truth_as_often_and_is_narrower_of_a_rare_class(rate: float, count: int) -> None:
    world = World(4, rate, 1.0)
    whole = {
        "accuracy": float(((world.positive > 0.5) == (world.truth == 1)).mean()),
        "average_precision": average_precision(world.truth == 1, world.positive),
    }
    focused = [drawn(world, count, focused=True) for _ in range(100)]
    uniform = [drawn(world, count, focused=False) for _ in range(100)]
    assert sum(found.low <= whole[found.metric] <= found.high for found in focused) >= 91
    widths = [float(np.mean([found.high - found.low for found in group])) for group in (uniform, focused)]
    assert widths[0] > (1.3 if rate < 0.2 else 0.8) * widths[1]
