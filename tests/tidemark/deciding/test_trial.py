"""Rules played over the past say what they would have decided, and how much of it was right."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest
from models import START, number_pipeline, small_pipeline

from tidemark.deciding.trial import Trial
from tidemark.records import Outcome, Prediction, encode
from tidemark.runtime.processor import Batch, Partition

DAY = 86_400_000_000
TIME = START * 1_000
RULES = """
    [[decisions]]
    name = "tell"
    threshold = 0.6
    per_day = 5
    [[decisions]]
    name = "all"
    threshold = 0.6
    abstain_from = 0.3
    [[decisions]]
    name = "found"
    threshold = "recall"
    [alerts]
    recall = 0.8
"""


def outcomes(given: Mapping[str, str | float]) -> Batch:
    values: list[bytes | None] = [
        encode(Outcome(label=label, known_at=TIME + number, event_id=event))
        for number, (event, label) in enumerate(given.items())
    ]
    offsets = np.arange(len(values), dtype=np.int64)
    return Batch(Partition("p.outcomes", 0, "x"), offsets, START + 10**9 + offsets, [None] * len(values), values)


def test_alerts_a_day_and_what_was_right_are_those_that_counting_gives() -> None:
    random_ = random.Random(3)
    rows = [(TIME + number * DAY // 200, random_.random()) for number in range(1_000)]
    made = [
        Prediction(
            event_id=f"e{number}",
            business_id=None,
            key=None,
            time=time,
            probabilities=[1 - p, p],
            uncertainty=None,
            model="m",
        )
        for number, (time, p) in enumerate(rows)
    ]
    made.append(msgspec.structs.replace(made[0], event_id="without", probabilities=None))
    truth = {f"e{number}": "yes" if random_.random() < p else "no" for number, (_, p) in enumerate(rows) if number % 2}
    trial = Trial(small_pipeline(extra=RULES))
    trial.add_outcomes(outcomes(truth))
    random_.shuffle(made)
    trial.add(made)
    tell, whole, found = trial.results()
    assert (trial.events, trial.scored) == (1_001, 1_000)
    told = {f"e{number}" for number, (_, p) in enumerate(rows) if p >= 0.6}
    counted: dict[str, int] = {}
    for number, (time, p) in enumerate(rows):
        if p >= 0.6:
            day = datetime.fromtimestamp(time // 1_000_000, UTC).date().isoformat()
            counted[day] = counted.get(day, 0) + 1
        assert number < len(rows)
    assert {day: each.alert for day, each in whole.days.items()} == counted
    positive = {event for event, label in truth.items() if label == "yes"}
    judged = told & set(truth)
    assert whole.judged == len(judged)
    assert whole.right.value == len(judged & positive) / len(judged)
    assert whole.found.value == len(told & positive) / len(positive)
    asked = {f"e{number}" for number, (_, p) in enumerate(rows) if 0.3 <= p < 0.6}
    assert whole.reviewed.value == len(asked & positive) / len(positive)
    assert tell.alerts_a_day[1] == 5
    assert found.alerts_a_day == (0.0, 0)
    assert (found.bounds.alert, found.right.value) == (None, None)


def test_a_rule_about_numbers_was_right_where_the_number_that_turned_out_would_have_been_an_alert() -> None:
    rule = '[[decisions]]\nname = "soon"\nat_most = 2'
    trial = Trial(number_pipeline(extra=rule))
    values, truth = [1.0, 1.5, 2.0, 4.0, 5.0, 1.0], [0.0, 3.0, 2.0, 1.0, 6.0]
    trial.add_outcomes(outcomes({f"e{number}": told for number, told in enumerate(truth)}))
    trial.add(
        msgspec.structs.replace(one(number, 0.5, 0), probabilities=None, value=value, low=value - 1, high=value + 1)
        for number, value in enumerate(values)
    )
    (soon,) = trial.results()
    assert (soon.judged, soon.of_class) == (3, 3)  # of four alerts the truth of one is not known
    assert [soon.right.value, soon.found.value] == pytest.approx([2 / 3, 2 / 3])


def one(number: int, probability: float, day: int) -> Prediction:
    return Prediction(
        event_id=f"e{number}",
        business_id=None,
        key=None,
        time=TIME + day * DAY,
        probabilities=[1 - probability, probability],
        uncertainty=None,
        model="m",
    )


def test_days_without_an_alert_are_days_and_an_event_that_was_predicted_twice_is_one() -> None:
    trial = Trial(small_pipeline(extra=RULES))
    trial.add([one(day, 0.1, day) for day in range(10)])
    trial.add([one(100, 0.9, 4), one(101, 0.9, 4), one(101, 0.9, 4), one(102, 1e308, 4), one(103, -3.0, 4)])
    _, whole, _ = trial.results()
    assert whole.alerts_a_day == (0.0, 2), "most days have none"
    assert len(whole.days) == 10
