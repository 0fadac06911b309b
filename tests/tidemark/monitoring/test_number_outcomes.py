"""Outcomes where the label is a number: they are labels, once each, and measure what was foretold."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from record_batch import batch

from benchmarks.labels.proposal_streams import pipeline
from tidemark.evaluation.labels import final_labels
from tidemark.monitoring import MonitorProcessor
from tidemark.pipeline.model import Outcomes, Pipeline
from tidemark.records import Label, Metric, Outcome, Prediction, Record, decode, encode
from tidemark.runtime.processor import Output, Partition

DELAY, GRACE = 1_000_000, 500_000
PREDICTIONS, OUTCOMES, LABELS = (
    Partition(f"p.{name}", 0, "0badcafe") for name in ("predictions", "outcomes", "labels")
)


def hours(outcomes: Outcomes | None) -> Pipeline:
    plain = pipeline(budget=2, explore=1, partitions=1)
    number: dict[str, object] = {"type": "number", "classes": [], "positive": "", "unit": "h", "min": -1, "max": 240}
    label = plain.label.model_copy(update={**number, "delay": DELAY, "grace": GRACE, "outcomes": outcomes})
    return plain.model_copy(update={"label": label})


SOME, ALL = hours(Outcomes(of="some")), hours(Outcomes(of="all"))


def prediction(number: int, time: int, value: float | None = 10.0, half: float = 2.0) -> Prediction:
    return Prediction(
        event_id=f"p.raw-0-{number}-0badcafe",
        business_id=f"b{number}",
        key=None,
        time=time,
        probabilities=None,
        uncertainty=None,
        model="none" if value is None else "m1",
        value=value,
        low=None if value is None else value - half,
        high=None if value is None else value + half,
    )


def told(number: int, label: str | float, known_at: int) -> Outcome:
    return Outcome(label=label, known_at=known_at, event_id=f"p.raw-0-{number}-0badcafe")


def opened(of: Pipeline) -> MonitorProcessor:
    processor = MonitorProcessor(of)
    for partition in (PREDICTIONS, OUTCOMES, LABELS):
        assert processor.open(partition, "") is None
    processor.tick(0.0)
    return processor


def labels_of(outputs: Sequence[Output]) -> list[Label]:
    return [decode(Label, output.value) for output in outputs if output.topic == "p.labels"]


def labeled(of: Pipeline, outcomes: Sequence[Record]) -> list[Label]:
    processor = opened(of)
    outputs = processor.process(batch(PREDICTIONS, [prediction(number, number) for number in range(3)]))
    return labels_of([*outputs, *processor.process(batch(OUTCOMES, outcomes))])


@pytest.mark.parametrize("of", [SOME, ALL])
def test_a_number_that_turned_out_is_a_label_in_the_one_text_that_numbers_have(of: Pipeline) -> None:
    written: list[str | float] = ["012.50", 7, -1.0]
    said = labeled(of, [told(number, label, 10) for number, label in enumerate(written)])
    assert [label.label for label in said] == ["12.5", "7.0", "-1.0"]
    assert {label.inclusion_probability for label in said} == {None}
    assert {label.share for label in said} == {None if of is SOME else 1.0}
    if of is ALL:
        assert [label.known_at for label in said] == [number + DELAY + GRACE for number in range(3)]


def test_another_number_corrects_and_the_same_one_in_another_writing_is_no_further_label() -> None:
    said = labeled(SOME, [told(1, 0, 10), told(1, "0.0", 11), told(1, 8.25, 20), told(1, "8.250", 30), told(1, 3, 15)])
    assert [label.label for label in said] == ["0.0", "3.0", "8.25"]
    (final,) = final_labels(said[::-1])
    assert final.label == "8.25"


@pytest.mark.parametrize(
    ("label", "why"),
    [
        (240.5, "240.5 is out of bounds; expected a number from -1 to 240 h"),
        ("much", "'much' is no number; expected a number from -1 to 240 h"),
        (True, "True is no number; expected a number from -1 to 240 h"),
        ("12,5", "'12,5' is no number"),
    ],
)
def test_what_is_no_number_within_the_bounds_is_a_dead_letter_that_says_so(label: str | float, why: str) -> None:
    processor = opened(SOME)
    processor.process(batch(PREDICTIONS, [prediction(1, 0)]))
    (refused,) = processor.process(batch(OUTCOMES, [told(1, label, 10)]))
    assert refused.topic == "p.deadletter"
    assert why in dict(refused.headers)["reason"].decode()


def measured(processor: MonitorProcessor, now: float) -> dict[str, Metric]:
    found = [decode(Metric, output.value) for output in processor.tick(now) if output.topic == "p.metrics"]
    return {metric.name: metric for metric in found if metric.source == "outcomes"}


@pytest.mark.parametrize("of", [hours(None), SOME])
def test_outcomes_tell_how_far_off_numbers_were_and_how_many_lay_within_their_interval(of: Pipeline) -> None:
    rng = np.random.default_rng(5)
    value, half = rng.uniform(5, 200, 300), rng.uniform(0.5, 3, 300)
    truth = value + rng.normal(size=300) * 1.5
    processor = opened(of)
    events = [prediction(at, at * 1_000, float(value[at]), float(half[at])) for at in range(300)]
    processor.process(batch(PREDICTIONS, [*events, prediction(300, 1, None)]))
    processor.process(batch(OUTCOMES, [told(at, float(truth[at]), DELAY + at * 1_000) for at in range(300)]))
    assert "rmse" not in measured(processor, 100.0), "the truth of no event has had its time"
    processor.process(batch(PREDICTIONS, [prediction(999, 199 * 1_000 + DELAY + GRACE)], 301))
    found = measured(processor, 200.0)
    error = (value - truth)[:200]
    expected = {
        "outcome_coverage": 1.0,
        "rmse": float(np.sqrt(np.mean(error**2))),
        "mae": float(np.mean(np.abs(error))),
        "interval_coverage": float(np.mean(np.abs(error) <= half[:200])),
    }
    assert {name: metric.value for name, metric in found.items()} == pytest.approx(expected)
    for name, metric in found.items():
        assert metric.value is not None
        assert metric.low is not None
        assert metric.high is not None
        assert metric.low <= metric.value <= metric.high, name
        assert (metric.n, metric.model) == (200, "m1")
    assert found["mae"].detail == {"events": 200, "with_outcome": 200, "unit": "h"}


def test_where_the_truth_of_many_events_is_missing_no_error_is_told() -> None:
    processor = opened(SOME)
    processor.process(batch(PREDICTIONS, [prediction(at, at) for at in range(100)]))
    processor.process(batch(OUTCOMES, [told(at, 9, DELAY) for at in range(80)]))
    processor.process(batch(PREDICTIONS, [prediction(999, DELAY + GRACE + 100)], 100))
    found = measured(processor, 100.0)
    assert found["outcome_coverage"].value == pytest.approx(0.8)
    assert set(found) == {"outcome_coverage"}


def test_an_outcome_corrects_what_a_person_said_of_a_drawn_case() -> None:
    (outcome,) = labeled(SOME, [told(1, 30, 50)])
    person = msgspec.structs.replace(
        outcome,
        label="12.0",
        annotator="ann",
        source=None,
        reason="explore",
        inclusion_probability=0.5,
        known_at=5,
        annotation_id="a",
    )
    for order in ([person, outcome], [outcome, person]):
        (final,) = final_labels(order)
        assert (final.label, final.inclusion_probability) == ("30.0", 0.5)
    assert json.loads(encode(outcome))["source"] == "outcome"
