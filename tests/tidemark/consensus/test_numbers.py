from __future__ import annotations

import math
from collections import Counter
from decimal import Decimal
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemark.consensus import krippendorff_alpha_of_numbers, screen_numbers
from tidemark.consensus.numbers import Accuracy, accuracy, error_bin, error_of, estimate, median, within
from tidemark.consensus.scales import UNIT, ClassScale, NumberScale
from tidemark.pipeline.model import LabelSpec

numbers = st.floats(-1e6, 1e6).map(lambda number: round(number, 3))
known = st.builds(Accuracy, st.floats(-5, 5), st.floats(0.1, 10), st.floats(0.05, 0.99))
STRANGER = Accuracy(0.0, 1.0, 0.75)
WEAR = LabelSpec.model_validate(
    {"type": "number", "unit": "h", "min": -1000, "max": 1000, "tolerance": 2, "delay": "1d"}
)


def decimals() -> st.SearchStrategy[Decimal]:
    return st.decimals(-(10**6), 10**6, places=3)


@given(decimals(), decimals(), st.decimals(0, 100, places=3))
def test_two_numbers_agree_as_their_decimals_say(first: Decimal, second: Decimal, tolerance: Decimal) -> None:
    assert within(float(first), float(second), float(tolerance)) == (abs(first - second) <= tolerance)


@given(decimals(), st.decimals(0, 100, places=3))
def test_numbers_that_are_just_so_far_apart_agree_and_a_thousandth_more_does_not(
    number: Decimal, tolerance: Decimal
) -> None:
    assert within(float(number), float(number + tolerance), float(tolerance))
    assert not within(float(number), float(number + tolerance + Decimal("0.001")), float(tolerance))


@given(st.floats(-1e9, 1e9), st.floats(1e-3, 1e3))
def test_a_bin_tells_an_error_to_an_eighth_of_a_step_or_of_itself(error: float, step: float) -> None:
    told = error_of(error_bin(error, step), step)
    assert abs(told - error) <= 0.14 * max(step, abs(error))
    assert error_bin(-error, step) == -error_bin(error, step)
    assert (abs(told) <= step) == (abs(error) <= step)


@given(st.floats(-1e100, 1e100), st.floats(1e-9, 1e9))
def test_no_error_makes_a_histogram_long(error: float, step: float) -> None:
    assert abs(error_bin(error, step)) < 1_100


def costs(answers: list[tuple[float, Accuracy]], place: float) -> float:
    return math.fsum(abs(number - each.bias - place) / each.spread for number, each in answers)


@given(st.lists(st.tuples(numbers, known), min_size=1, max_size=6))
def test_the_verdict_is_the_number_that_costs_least_of_all_numbers(answers: list[tuple[float, Accuracy]]) -> None:
    """Written out: the weighted sum of distances is least at one of the answers, or between two."""
    least = min(costs(answers, number - each.bias) for number, each in answers)
    assert costs(answers, estimate(answers, 1.0).number) <= least + 1e-9 * (1 + abs(least))


@given(st.lists(numbers, min_size=1, max_size=9))
def test_strangers_come_to_the_plain_median(said: list[float]) -> None:
    assert estimate([(number, STRANGER) for number in said], 1.0).number == pytest.approx(np.median(said), abs=1e-6)
    assert median(said) == pytest.approx(np.median(said), abs=1e-6)


@given(st.lists(st.tuples(numbers, known), min_size=2, max_size=4), st.floats(0, 100))
def test_the_order_of_answers_changes_nothing(answers: list[tuple[float, Accuracy]], tolerance: float) -> None:
    found = [estimate(list(order), tolerance) for order in permutations(answers)]
    assert len({(each.number, round(each.confidence, 9)) for each in found}) == 1


@given(st.lists(st.integers(-1000, 1000), min_size=4, max_size=4), st.floats(-1e100, 1e100), known)
def test_one_malicious_in_five_moves_the_verdict_no_further_than_an_honest_answer(
    honest: list[int], lie: float, told: Accuracy
) -> None:
    """Whatever they say, and whatever is known of them that makes them no heavier than the others."""
    weight = Accuracy(0.0, max(told.spread, 1.0), told.right)
    found = estimate([*((float(number), STRANGER) for number in honest), (lie, weight)], 1.0)
    assert min(honest) <= found.number <= max(honest)


@given(st.integers(-1000, 1000), st.floats(-1e6, 1e6))
def test_one_malicious_in_five_does_not_stop_those_who_agree(truth: int, lie: float) -> None:
    found = estimate([*[(float(truth), STRANGER)] * 4, (lie, STRANGER)], 0.5)
    assert found.number == truth
    assert found.confidence >= 0.9 - 1e-9


def test_confidence_is_the_odds_of_those_who_speak_for_the_number() -> None:
    assert estimate([(10.0, STRANGER)], 1.0).confidence == pytest.approx(0.75)
    assert estimate([(10.0, STRANGER), (11.0, STRANGER)], 1.0).confidence == pytest.approx(0.9)
    apart = estimate([(10.0, STRANGER), (11.5, STRANGER)], 1.0)
    assert apart.number == 10.75
    assert apart.confidence == pytest.approx(0.1)
    two_of_three = [(10.0, STRANGER), (10.5, STRANGER), (90.0, STRANGER)]
    assert estimate(two_of_three, 1.0).confidence == pytest.approx(0.75)
    good, bad = Accuracy(0.0, 0.5, 0.95), Accuracy(0.0, 8.0, 0.1)
    assert estimate([(10.0, good), (10.5, good), (90.0, bad)], 1.0).confidence == pytest.approx(361 / 362)


def test_somebody_who_is_always_too_high_is_heard_without_it_and_one_who_scatters_hardly() -> None:
    high = accuracy({error_bin(10.0, 2.0): 40.0}, 2.0, 2.0)
    assert high.bias == pytest.approx(10.0, rel=0.13)
    assert high.right > 0.9
    wild = accuracy(Counter(error_bin(error, 2.0) for error in range(-400, 400, 20)), 2.0, 2.0)
    assert wild.spread > 9 * high.spread
    assert wild.right < 0.2
    found = estimate([(30.0 + high.bias, high), (70.0, wild), (30.5, STRANGER)], 2.0)
    assert found.number == pytest.approx(30.0)


@given(st.floats(-40, 40), st.integers(0, 2**32 - 1))
def test_bias_and_spread_are_those_of_the_errors_as_far_as_bins_tell(bias: float, seed: int) -> None:
    errors = bias + np.random.default_rng(seed).laplace(0.0, 3.0, 2_000)
    told = accuracy(Counter(error_bin(error, 2.0) for error in errors), 2.0, 2.0)
    assert told.bias == pytest.approx(bias, abs=0.3 + 0.14 * max(2.0, abs(bias)))
    assert told.spread == pytest.approx(np.mean(np.abs(errors - told.bias)), rel=0.15, abs=0.1 + 0.07 * abs(bias))


def test_nobody_is_known_by_a_few_answers() -> None:
    assert accuracy({}, 2.0, 2.0) == Accuracy(0.0, 2.0, 0.75)
    three = accuracy({error_bin(50.0, 2.0): 3.0}, 2.0, 2.0)
    assert three.bias == 0.0


def crowd(seed: int, cases: int, malicious: float) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """What five say of cases, one of whom may be malicious, and 20 % of whose answers are slips; and the truth."""
    rng = np.random.default_rng(seed)
    bias = {"ada": 0.0, "ben": 3.0, "cyd": -1.0, "dan": 0.5}
    spread = {"ada": 0.5, "ben": 1.0, "cyd": 1.0, "dan": 3.0}
    truth = {f"c{case}": float(rng.uniform(-200, 200)) for case in range(cases)}
    said: dict[str, dict[str, float]] = {}
    for case, number in truth.items():
        said[case] = {who: number + bias[who] + float(rng.laplace(0, spread[who])) for who in bias}
        for who in bias:
            if rng.random() < 0.2:
                said[case][who] = float(rng.uniform(-200, 200))
        said[case]["eve"] = number + malicious if malicious else float(rng.uniform(-200, 200))
    return said, truth


@pytest.mark.parametrize("malicious", [0.0, 150.0])
def test_one_malicious_of_five_and_many_slips_cost_a_third_of_what_they_cost_the_mean(malicious: float) -> None:
    scale = NumberScale(WEAR)
    loss = {"mean": 0.0, "queue": 0.0, "honest": 0.0}
    for seed in range(4):
        said, truth = crowd(seed, 400, malicious)
        tallies = {who: scale.tally() for who in said["c0"]}
        for case, answers in said.items():
            texts = {who: repr(number) for who, number in answers.items()}
            verdict = scale.weigh(scale.tally(), [(tallies[who], text) for who, text in texts.items()], "dawid_skene")
            for who, text in texts.items():
                for told, error, weight in scale.told(scale.of_votes((), list(texts.values())), text):
                    scale.count(tallies[who], told, error, weight)
            loss["queue"] += abs(float(verdict.answer) - truth[case])
            loss["mean"] += abs(float(np.mean(list(answers.values()))) - truth[case])
    assert loss["queue"] < loss["mean"] / 3


def test_answers_under_other_classes_or_bounds_are_passed_over() -> None:
    scale = NumberScale(WEAR)
    assert not scale.holds("fraud")
    assert not scale.holds("5000.0")
    assert not scale.agree("fraud", "3.0")
    assert scale.agree("fraud", "fraud")
    assert scale.told((3.0,), "fraud") == []
    assert scale.told((0.4, 0.6), "3.0") == []
    assert scale.truth((0.4, 0.6)) is None
    tally = scale.tally()
    scale.count(tally, "genuine", "fraud", UNIT)
    scale.count(tally, "", "fraud", UNIT)
    assert scale.right(scale.tally(), tally) is None


def test_a_verdict_is_within_the_bounds_and_in_its_canonical_text() -> None:
    scale = NumberScale(WEAR)
    tally = scale.tally()
    scale.count(tally, "", str(error_bin(-500.0, 2.0)), 100 * UNIT)
    verdict = scale.weigh(scale.tally(), [(tally, "900.0")], "dawid_skene")
    assert verdict.answer == "1000.0"
    assert scale.weigh(scale.tally(), [(tally, "900.0")], "majority").answer == "900.0"
    assert scale.read("1e2") == "100.0"
    assert ClassScale(("no", "yes")).read("yes") == "yes"


KRIPPENDORFF = """
. . . . . 3 4 1 2 1 1 3 3 . 3
1 . 2 1 3 3 4 3 . . . . . . .
. . 2 1 3 4 4 . 2 1 1 3 3 . 4
"""
"""Three observers, "Computing Krippendorff's alpha-reliability", section C: interval data give 0.811."""


def test_alpha_of_numbers_is_that_of_its_definition() -> None:
    lines = KRIPPENDORFF.split("\n")[1:-1]
    answers = [(f"u{unit}", float(said)) for line in lines for unit, said in enumerate(line.split()) if said != "."]
    agreement = krippendorff_alpha_of_numbers(answers)
    assert agreement.value == pytest.approx(0.811, abs=5e-4)
    assert agreement.low < agreement.value <= agreement.high


@given(st.lists(st.lists(st.integers(-50, 50), min_size=1, max_size=4), min_size=2, max_size=6), st.floats(-1e5, 1e5))
def test_alpha_of_numbers_is_what_pairs_say_wherever_the_zero_is(cases: list[list[int]], zero: float) -> None:
    answers = [(f"c{place}", zero + number) for place, said in enumerate(cases) for number in said]
    agreement = krippendorff_alpha_of_numbers(answers)
    several = [said for said in cases if len(said) > 1]
    every = [number for said in several for number in said]
    n = len(every)
    expected = sum((a - b) ** 2 for a in every for b in every) / (n * (n - 1)) if n > 1 else 0.0
    if expected == 0:
        assert not math.isfinite(agreement.value)
        return
    observed = sum(sum((a - b) ** 2 for a in said for b in said) / (len(said) - 1) for said in several) / n
    assert agreement.value == pytest.approx(1 - observed / expected, abs=1e-6)
    assert agreement.cases == len(several)


@pytest.mark.parametrize("malicious", [0.0, 150.0])
def test_who_says_any_number_is_set_aside_and_the_others_are_not(malicious: float) -> None:
    for seed in range(5):
        said, _ = crowd(seed, 200, malicious)
        triples = [(case, who, number) for case, each in said.items() for who, number in each.items() if who != "dan"]
        found = {screening.annotator: screening for screening in screen_numbers(triples, 4.0)}
        assert {who for who, screening in found.items() if screening.quarantined} == {"eve"}
        assert "200 cases" in found["eve"].why


def test_nobody_is_accused_over_few_numbers() -> None:
    said, _ = crowd(0, 15, 0.0)
    triples = [(case, who, number) for case, each in said.items() for who, number in each.items()]
    assert {screening.verdict for screening in screen_numbers(triples, 4.0)} == {"unknown"}
    assert screen_numbers([], 1.0) == []
