"""The bounds of a rule are those of least cost, and a wrong rule is refused with what to do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import pipeline_text

from tidemark.deciding.rule import Bounds, bounds_of, cheapest
from tidemark.errors import ConfigError
from tidemark.pipeline import parse
from tidemark.pipeline.model import Costs, DecisionRule

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
