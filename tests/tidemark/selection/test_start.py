"""What is asked before there is a model that knows the class that is looked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
import pytest

from benchmarks.labels.proposal_streams import pipeline
from kernels import coin, hash64, unit
from tidemark.pipeline.model import Pipeline, Start
from tidemark.registry.label_counts import LabelCounts
from tidemark.selection.offline import OfflineSelection, TileEvents
from tidemark.selection.proposals import rows_to_propose
from tidemark.selection.scoring import Ranker, score
from tidemark.selection.start import looks_for_positives, pick_cold, share_of_odd
from tidemark.selection.tiles import Proposal
from tidemark.training.schedule import first_is_due

ODD = (3, 30, 60, 90)


def events(number: int, n: int = 120, features: int = 2) -> TileEvents:
    """A crowd of events, four of them far out in both features."""
    rng = np.random.default_rng(number)
    x = rng.normal(size=(n, features))
    x[list(ODD)] += 30 + rng.normal(size=(4, features)) * 5
    return TileEvents(number, "p.raw@0badcafe", 0, np.arange(n) + number * n, [f"e{i}" for i in range(n)], x)


def with_start(pipe: Pipeline, **start: object) -> Pipeline:
    return pipe.model_copy(update={"start": Start.model_validate(start)})


def test_without_a_model_half_of_what_is_chosen_are_the_oddest_events() -> None:
    pipe = pipeline(budget=9, explore=1, policy="margin")
    selection = OfflineSelection(pipe)
    for number in range(5):
        picks = selection.ask(events(number), None)
        rows = {int(pick.proposal.event_id[1:]) for pick in picks if pick.reason == "cold"}
        drawn = {int(pick.proposal.event_id[1:]) for pick in picks if pick.reason == "explore"}
        assert 3 <= len(rows) <= 4
        assert len(rows & set(ODD)) >= len(rows) - len(drawn & set(ODD))


def test_what_the_start_leaves_to_chance_is_drawn_with_its_inclusion_probability() -> None:
    pipe = pipeline(budget=9, explore=1, policy="margin")
    given = events(3)
    picks = OfflineSelection(pipe).ask(given, None)
    coins = np.sort(coin(hash64(given.stream.encode()), 0, given.offsets, hash64(pipe.selection.version.encode())))
    drawn = [pick for pick in picks if pick.reason == "explore"]
    assert 9 - 4 <= len(drawn) <= 9 - 3  # half of eight are odd
    assert sorted(pick.proposal.coin for pick in drawn) == coins[: len(drawn)].tolist()
    assert {pick.inclusion_probability for pick in drawn} == {unit(int(coins[len(drawn)]))}


@pytest.mark.parametrize(
    ("drawn", "chosen", "least", "most"),
    [
        ([0, 0], [0, 0], 0.45, 0.5),
        ([4, 0], [4, 0], 0.4, 0.55),  # nothing yet
        ([2, 2], [1, 3], 0.0, 0.1),  # a common class, whatever odd events hold
        ([3, 1], [4, 0], 0.05, 0.2),
        ([12, 0], [4, 2], 0.85, 1.0),  # rare, and odd events hold it
        ([12, 0], [32, 0], 0.2, 0.25),  # fruitless
        ([30, 1], [32, 0], 0.1, 0.25),  # chance finds more
        ([6, 4], [3, 29], 0.0, 0.05),
    ],
)
def test_odd_events_have_the_share_that_labels_say_they_are_worth(
    drawn: list[int], chosen: list[int], least: float, most: float
) -> None:
    share = share_of_odd(Start(), drawn, chosen, 1)
    assert least <= share <= most
    pipe = pipeline(budget=9, explore=1, policy="badge")
    counts = LabelCounts(classes=["bad", "good"], drawn=drawn[::-1], chosen=chosen[::-1])  # names decide, not places
    selection = OfflineSelection(pipe)
    by_chance = [
        sum(pick.reason == "explore" for pick in selection.ask(events(number), None, counts)) for number in range(40)
    ]
    assert max(by_chance) - min(by_chance) <= 1
    assert sum(by_chance) / 40 == pytest.approx(9 - share * 8, abs=1 / 40)  # small shares add up over the tiles


def test_with_several_classes_odd_events_are_worth_what_they_hold_of_the_rare_ones() -> None:
    assert share_of_odd(Start(), [20, 0, 0], [14, 0, 4], 1) > 0.8
    assert share_of_odd(Start(), [19, 0, 1], [30, 0, 0], 1) < 0.5
    half = share_of_odd(Start(), [12, 8, 0], [6, 2, 4], 1)  # one class is common, one is rare
    assert 0.4 < half < 0.6


def test_what_an_experts_rule_names_is_asked_about_before_odd_events_but_not_alone() -> None:
    pipe = with_start(pipeline(budget=8, explore=0, policy="margin"), rule="x < 0")
    picks = OfflineSelection(pipe).ask(events(0), None)
    rows = [int(pick.proposal.event_id[1:]) for pick in picks if pick.reason == "cold"]
    x = events(0).features[:, 0]
    assert len(rows) == 3
    assert (x[rows] < 0).all()
    assert len(picks) == 8


def test_where_a_rule_names_few_events_the_others_are_unlike_each_other() -> None:
    pipe = with_start(pipeline(budget=13, explore=1, policy="margin"), rule="x > 20", anomalies=0)
    picks = OfflineSelection(pipe).ask(events(0), None)
    rows = [int(pick.proposal.event_id[1:]) for pick in picks if pick.reason == "cold"]
    drawn = {int(pick.proposal.event_id[1:]) for pick in picks if pick.reason == "explore"}
    named = set(ODD) - drawn
    assert set(rows[: len(named)]) == named
    assert (len(rows), len(picks)) == (5, 13)


def test_without_a_start_cases_are_unlike_each_other_and_as_many_are_drawn_as_are_reserved() -> None:
    pipe = with_start(pipeline(budget=8, explore=1, policy="margin"), anomalies=0)
    picks = OfflineSelection(pipe).ask(events(0), None)
    assert [sum(pick.reason == reason for pick in picks) for reason in ("explore", "cold")] == [1, 7]


def test_a_rule_that_fails_on_an_event_does_not_name_it_and_a_missing_value_does_not_either() -> None:
    pipe = with_start(pipeline(budget=4, explore=1, policy="margin"), rule="CAST(1 / x AS INTEGER) >= 1")
    frame = pl.DataFrame({"x": [0.0, np.nan, 0.5, 4.0], "y": [0.0] * 4})
    none = score(pipe.selection, "none", None, 4)
    value = Ranker(pipe)(none, frame, np.arange(4, dtype=np.uint64)).value
    assert np.isnan(value).tolist() == [True, True, False, True]


@dataclass(frozen=True)
class Known:
    """A model that has learnt from so many labels of each class."""

    class_counts: list[int] = field(default_factory=list)
    drawn_counts: list[int] = field(default_factory=list)


def stage(pipe: Pipeline, counts: list[int], drawn: Sequence[int] = ()) -> tuple[str, list[float]]:
    p = np.random.default_rng(1).dirichlet(np.ones(len(pipe.label.classes)), 5)
    scores = score(pipe.selection, "m1", p, 5, Known(counts, list(drawn)))
    ranking = Ranker(pipe)(scores, pl.DataFrame({"x": [0.0] * 5, "y": [0.0] * 5}), np.arange(5, dtype=np.uint64))
    return ranking.stage, ranking.value.tolist()


def test_the_likeliest_positives_are_asked_about_until_there_are_enough() -> None:
    pipe = pipeline(budget=4, explore=1, policy="margin")
    p = np.random.default_rng(1).dirichlet(np.ones(2), 5)
    assert stage(pipe, [15, 1]) == ("positives", p[:, 1].tolist())
    assert stage(pipe, [45, 19])[0] == "positives"
    assert stage(pipe, [45, 20])[0] == ""
    assert stage(pipe, [12, 12])[0] == ""  # every second one is positive: what would more of them tell?
    assert stage(pipe, [199, 3])[0] == ""  # a model that does not find them goes on by uncertainty
    assert stage(pipe, [])[0] == ""  # an older model does not tell
    assert stage(pipeline(budget=4, explore=1, policy="random"), [15, 1])[0] == ""


def test_a_class_that_chance_finds_is_not_looked_for() -> None:
    pipe = pipeline(budget=4, explore=1, policy="margin")
    assert stage(pipe, [14, 3], drawn=[9, 1])[0] == "positives"  # one says little
    assert stage(pipe, [14, 3], drawn=[8, 2])[0] == ""
    assert stage(pipe, [40, 3], drawn=[18, 2])[0] == "positives"


def test_while_positives_are_looked_for_the_others_are_drawn_with_their_inclusion_probability() -> None:
    class Young(Known):
        version = "m1"

        def probabilities(self, rows: np.ndarray) -> np.ndarray:
            p = 1 / (1 + np.exp(-rows[:, 0]))
            return np.column_stack([1 - p, p])

        def estimates(self, rows: np.ndarray) -> np.ndarray:
            raise AssertionError(f"the label is a class, and numbers of {len(rows)} rows are asked for")

    for policy in ("margin", "robust"):
        pipe = pipeline(budget=9, explore=1, policy=policy)
        given = events(3)
        picks = OfflineSelection(pipe).ask(given, Young([22, 2], [9, 1]))
        share = looks_for_positives(Start(), [22, 2], [9, 1], 1)
        assert share is not None
        drawn = [pick for pick in picks if pick.reason == "explore"]
        assert 2 < len(drawn) == 9 - math.floor(4 * share.share * 8) + math.floor(3 * share.share * 8)
        assert len(picks) == 9
        coins = np.sort(coin(hash64(given.stream.encode()), 0, given.offsets, hash64(pipe.selection.version.encode())))
        assert {pick.inclusion_probability for pick in drawn} == {unit(int(coins[len(drawn)]))}
        likely = [pick.proposal.score for pick in picks if pick.reason == "cold"]
        assert likely == sorted(likely, reverse=True)


def test_with_several_classes_all_but_the_commonest_count_as_positive_and_none_is_waited_for() -> None:
    pipe = pipeline(budget=4, explore=1, policy="margin")
    label = pipe.label.model_copy(update={"classes": ["a", "b", "c"], "positive": "c"})
    pipe = pipe.model_copy(update={"label": label})
    p = np.random.default_rng(1).dirichlet(np.ones(3), 5)
    name, values = stage(pipe, [15, 2, 0])
    assert name == "positives"
    assert values == pytest.approx((p[:, 1] + p[:, 2]).tolist())
    assert stage(pipe, [10, 25, 5])[0] == "positives"
    assert stage(pipe, [10, 25, 10])[0] == ""
    training = pipe.training.model_copy(update={"min_labels": 10, "min_positive": 2})
    pipe = pipe.model_copy(update={"training": training})
    assert first_is_due(pipe, [10, 2, 0])
    assert not first_is_due(pipe, [10, 1, 0])


def test_what_is_kept_of_a_tile_without_a_model_is_bounded() -> None:
    pipe = with_start(pipeline(budget=2, explore=1, policy="margin", candidates_per_pick=2), pool=50)
    selection = OfflineSelection(pipe)
    picks = selection.ask(events(1, n=5_000), None)
    assert len(picks) == 2
    assert rows_to_propose(pipe.selection, pipe.start, cold=True) == (3, 50)
    assert rows_to_propose(pipe.selection, pipe.start, cold=False) == (2, 4)
    assert rows_to_propose(pipe.selection, pipe.start, cold=False, stage="positives") == (3, 4)


def test_picks_without_a_model_are_the_same_again_and_different_rows_of_the_pool() -> None:
    rng = np.random.default_rng(4)
    rows = [
        Proposal(f"e{i}", None, None, i, i, i, np.nan, None, None, "none", {"x": float(v)}, {})
        for i, v in enumerate(rng.normal(size=80))
    ]
    for slots in (0, 1, 7, 100):
        picks = pick_cold(Start(), rows, slots // 2, slots, 3)
        assert len({row.event_id for row in picks}) == len(picks) == min(slots, 80)
        assert pick_cold(Start(), rows, slots // 2, slots, 3) == picks
    alike = [replace(row, features={"x": None}) for row in rows]
    assert len(pick_cold(Start(), alike, 3, 5, 3)) == 5
    assert pick_cold(Start(), [], 3, 5, 3) == []
