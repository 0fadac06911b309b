"""The bounds of a rule are those of least cost, and a wrong rule is refused with what to do."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import number_pipeline, number_text, pipeline_text

from tidemark.deciding.active import begun
from tidemark.deciding.rule import Bounds, bounds_of, cheapest
from tidemark.deciding.subject import subject_of
from tidemark.errors import ConfigError
from tidemark.pipeline import parse
from tidemark.pipeline.model import Costs, DecisionRule
from tidemark.records import Prediction

prices = st.integers(1, 1_000).map(float)


@given(prices, prices, st.none() | prices, st.integers(0, 1_000).map(lambda n: n / 1_000))
def test_no_other_decision_would_cost_less(missed: float, false_alarm: float, review: float | None, p: float) -> None:
    bounds = cheapest(Costs(missed=missed, false_alarm=false_alarm, review=review))
    assert bounds.alert is not None
    costs = {"silence": p * missed, "alert": (1 - p) * false_alarm}
    if review is not None:
        costs["abstain"] = review
    if p >= bounds.alert:
        decided = "alert"
    elif bounds.abstain is not None and p >= bounds.abstain:
        decided = "abstain"
    else:
        decided = "silence"
    assert costs[decided] <= min(costs.values()) + 1e-9 * max(costs.values())


def test_the_unit_of_costs_does_not_matter_however_small_it_is() -> None:
    assert cheapest(Costs(missed=1.5e308, false_alarm=1.5e308)) == Bounds(0.5)


def test_a_rule_with_a_threshold_has_it() -> None:
    assert bounds_of(DecisionRule(name="r", threshold=0.5, abstain_from=0.25)) == Bounds(0.5, 0.25)
    assert bounds_of(DecisionRule(name="r", threshold="recall")) == Bounds(None)


WRONG = {
    'name = "a"': "a rule has either a threshold or costs; write one of them",
    'name = "a"\nthreshold = 0.5\ncosts = { missed = 1.0, false_alarm = 1.0 }': "either a threshold or costs",
    'name = "a"\nthreshold = 0.5\nof = "frod"': "'frod' is no class",
    'name = "a"\nthreshold = "recall"': "follows [alerts], which is missing",
    'name = "a"\nthreshold = 0.5\nabstain_from = 1': "1 is no probability above 0 and below 1",
    'name = "a"\nat_most = 3': "at_most: is of a label that is a number; write threshold, a probability",
    'name = "a"\nthreshold = 0.5\nby = "low"': "by: is of a label that is a number",
    'name = "a"\nthreshold = 0.5\nabstain_from = 0.5': "lies not below the threshold",
    'name = "a"\ncosts = { missed = 1.0, false_alarm = 1.0 }\nabstain_from = 0.5': "follows from costs.review",
    'name = "a"\nthreshold = 0.5\nsuppress = "900d"': "lasts longer than decisions are kept",
    'name = "a"\nthreshold = 0.5\n[[decisions]]\nname = "a"\nthreshold = 0.6': "the name of two rules",
    'name = "a"\nthreshold = 0': "decisions",
    'name = "a"\nthreshold = "often"': "decisions",
    'name = "a b"\nthreshold = 0.5': "decisions",
    'name = "a"\ncosts = { missed = -1, false_alarm = 1 }': "decisions",
}


@pytest.mark.parametrize("rule", WRONG)
def test_a_rule_that_makes_no_sense_is_refused_with_what_to_do(rule: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(pipeline_text(extra=f"[[decisions]]\n{rule}\n"), "p.toml")
    assert WRONG[rule] in str(caught.value)


WRONG_OF_NUMBERS = {
    'name = "a"': "a rule of a number has either at_most or at_least; write one of them",
    'name = "a"\nat_most = 3\nat_least = 5': "a rule of a number has either at_most or at_least",
    'name = "a"\nthreshold = 0.5\nat_most = 3': "threshold: is of classes, and the label is a number; write at_most or",
    'name = "a"\nof = "yes"\nat_most = 3': "of: is of classes, and the label is a number",
    'name = "a"\ncosts = { missed = 1.0, false_alarm = 1.0 }\nat_most = 3': "costs: is of classes",
    'name = "a"\nat_most = 10': "10 parts no numbers from -10 to 10; write one between",
    'name = "a"\nat_least = -10': "-10 parts no numbers from -10 to 10",
    'name = "a"\nat_most = 3\nabstain_from = 12': "12 parts no numbers from -10 to 10",
    'name = "a"\nat_most = 3\nabstain_from = 3': "lies not above at_most, so nothing would abstain; write",
    'name = "a"\nat_least = 3\nabstain_from = 5': "lies not below at_least",
    'name = "a"\nat_most = 3\nby = "middle"': "decisions",
}


@pytest.mark.parametrize("rule", WRONG_OF_NUMBERS)
def test_a_rule_of_a_number_that_makes_no_sense_is_refused_with_what_to_do(rule: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(number_text(extra=f"[[decisions]]\n{rule}\n"), "p.toml")
    assert WRONG_OF_NUMBERS[rule] in str(caught.value)


def foretold(value: float, half: float = 2.0) -> Prediction:
    return Prediction(
        event_id="e",
        business_id=None,
        key=None,
        time=0,
        probabilities=None,
        uncertainty=0.1,
        model="m",
        value=value,
        low=value - half,
        high=value + half,
    )


numbers = st.floats(-10, 10)


@given(edge=numbers, value=numbers, by=st.sampled_from(["value", "low", "high"]), small=st.booleans())
def test_a_rule_of_a_number_alerts_exactly_where_the_number_is_on_its_side(
    edge: float, value: float, by: Literal["value", "low", "high"], *, small: bool
) -> None:
    rule = DecisionRule.model_validate({"name": "r", "by": by, "at_most" if small else "at_least": edge})
    active = begun(rule, number_pipeline().label)
    one = foretold(value)
    number = getattr(one, by)
    strength = active.subject.strength(one)
    assert strength is not None
    assert active.concerns(strength) == (number <= edge if small else number >= edge)
    told = active.subject.told(one, active.bounds.alert or 0.0)
    assert (told["threshold"], told[by], told["by"]) == (edge, number, by)
    assert active.subject.is_of(number) == active.concerns(strength)


@given(pair=st.lists(numbers, min_size=2, max_size=2).map(sorted), small=st.booleans())
def test_what_goes_further_a_rules_way_comes_first_in_its_budget(pair: list[float], *, small: bool) -> None:
    rule = DecisionRule.model_validate({"name": "r", "at_most" if small else "at_least": 0.0})
    subject = subject_of(rule, number_pipeline().label)
    lower, higher = (subject.share(subject.strength(foretold(value)) or 0.0) for value in pair)
    assert (lower >= higher) if small else (lower <= higher)
    assert 0 <= min(lower, higher) <= max(lower, higher) <= 1
    assert subject.share(-1e9) == 0
    assert subject.share(1e9) == 1


@pytest.mark.parametrize("most", [200.0, 1e9, 1e12])
def test_a_days_budget_is_for_what_goes_furthest_however_large_a_number_could_be(most: float) -> None:
    label = number_pipeline().label.model_copy(update={"min": 0.0, "max": most})
    rule = DecisionRule.model_validate({"name": "r", "at_least": 100.0, "per_day": 2})
    active, midnight = begun(rule, label), 1_750_032_000_000_000
    assert [active.decide(None, midnight - 60_000_000, value) for value in (150.0, 160.0)] == ["alert", "alert"]
    told = [active.decide(None, midnight + 60_000_000, value) for value in (101.0, 155.0, 170.0)]
    assert told == ["over_budget", "alert", "alert"]


def test_where_a_rule_of_a_number_parts_it_is_told_as_it_is_written() -> None:
    label = number_pipeline().label.model_copy(update={"max": 1e9, "unit": "EUR"})
    for bound, words in ((1_234_567.25, "1,234,567.25"), (-3, "-3"), (0.1, "0.1")):
        for key, sign in (("at_least", "≥"), ("at_most", "≤")):
            subject = subject_of(DecisionRule.model_validate({"name": "r", key: bound}), label)
            assert subject.bounds.alert is not None
            assert subject.shown(subject.bounds.alert) == f"value {sign} {words} EUR"
