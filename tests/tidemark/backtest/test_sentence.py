"""A simulation in words."""

from __future__ import annotations

import msgspec
import pytest

from tidemark.backtest.result import ArmCurve, Simulation
from tidemark.backtest.sentence import sentence

OWN = ArmCurve(
    name="as it is", settings={}, seeds=5, labels=400.0, grid=[0, 100, 400], mean=[0.1, 0.7, 0.72],
    low=[0.05, 0.6, 0.6], high=[0.2, 0.8, 0.85], area=0.6, gain=None, gain_low=None, as_good_from=100,
)  # fmt: skip
BADGE = msgspec.structs.replace(OWN, name="badge", gain=0.04, gain_low=0.01)
FOUND = Simulation(
    source="h", title="Shop", metric="average precision", positive="bad", constant=0.1, events=1, labels=1,
    positives=1, unlabeled=0, played=1, exam=1, budget=400, arms=[OWN, BADGE], chosen="as it is", stop=100, toml="",
    notes=[], seconds=1.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {},
            "No change that was played is better than the pipeline as it is by more than chance. More than 100 labels",
        ),
        (
            {"chosen": "badge"},
            "Best is badge: +0.040 on average over all labels (95 %: at least +0.010). More than 100",
        ),
        ({"stop": None}, "Labels pay as far as can be told: 0.720 [0.600, 0.850] after 400."),
    ],
)
def test_the_sentence_says_what_the_figures_say(changes: dict[str, object], said: str) -> None:
    assert said in sentence(msgspec.structs.replace(FOUND, **changes))


def test_of_few_labels_it_is_said_that_nothing_can_be_told() -> None:
    short = msgspec.structs.replace(OWN, grid=[0, 60, 120])
    found = msgspec.structs.replace(FOUND, arms=[short], stop=None)
    assert "120 labels are too few to tell when more stop paying" in sentence(found)


def test_what_a_hundred_more_labels_would_bring_is_told_by_the_later_half_of_the_curve() -> None:
    grid = list(range(20, 1_001, 20))
    mean = [0.9 - 2.0 / n**0.5 for n in grid]  # the next hundred: 2 / sqrt(1000) - 2 / sqrt(1100), .29 points
    low, high = [each - 0.02 for each in mean], [each + 0.02 for each in mean]
    own = msgspec.structs.replace(OWN, grid=grid, mean=mean, low=low, high=high)
    told = sentence(msgspec.structs.replace(FOUND, arms=[own], stop=None))
    assert "a hundred more would bring about 0.3 points, at most" in told
    short = msgspec.structs.replace(own, grid=[20, 40, 400], mean=[0.1, 0.2, 0.3], low=[0.1] * 3, high=[0.3] * 3)
    told = sentence(msgspec.structs.replace(FOUND, arms=[short], stop=None))
    assert "would bring" not in told
