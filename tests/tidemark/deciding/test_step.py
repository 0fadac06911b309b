"""Predictions to decisions: by each rule for itself, and none twice, wherever reading goes on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from models import START, number_pipeline, small_pipeline
from msgspec.structs import replace

from tidemark.deciding.state import DecideState
from tidemark.deciding.step import DecideStep
from tidemark.errors import TopicError
from tidemark.pipeline import Pipeline
from tidemark.records import Decision, Metric, Prediction, decode, encode
from tidemark.runtime.by_topic import ByTopicStep, Received
from tidemark.runtime.processor import Batch, Partition
from tidemark.runtime.steps import RoundContext

TIME = START * 1_000
RULES = """
    [alerts]
    recall = 0.8
    [[decisions]]
    name = "tell"
    threshold = 0.8
    abstain_from = 0.5
    suppress = "1m"
    [[decisions]]
    name = "found"
    threshold = "recall"
    [[decisions]]
    name = "no"
    of = "no"
    threshold = 0.9
"""


def prediction(number: int, probability: float | None, key: str | None = None, second: int = 0) -> Prediction:
    return Prediction(
        event_id=f"e{number}",
        business_id=f"b{number}",
        key=key,
        time=TIME + second * 1_000_000,
        probabilities=None if probability is None else [1 - probability, probability],
        uncertainty=None,
        model="m1",
    )


def batch(topic: str, values: Sequence[bytes | None], first: int = 0) -> Batch:
    offsets = np.arange(first, first + len(values), dtype=np.int64)
    partition = Partition(topic, 0, "x")
    return Batch(partition, offsets, START + offsets, [None] * len(values), list(values), [None] * len(values))


def threshold(value: float | None) -> bytes:
    metric = Metric(
        name="alert_threshold", value=value, low=None, high=None, n=9, at=0, model="m1", source="labels", detail={}
    )
    return encode(metric)


class Deciding:
    """The step of a pipeline, whose decisions are kept."""

    def __init__(self, pipeline: Pipeline, before: Sequence[Decision] = ()) -> None:
        self.step = DecideStep(pipeline, lambda: before, wall=lambda: TIME * 2)
        self.step.open()
        self.refused: list[str] = []

    def feed(self, *batches: Batch) -> list[tuple[str, str, str]]:
        """Rule, event and decision."""
        return [(each.rule, each.event_id, each.decided) for each in self.decisions(*batches)]

    def decisions(self, *batches: Batch) -> list[Decision]:
        outcome = self.step.process(Received(batches), RoundContext(0, [each.partition for each in batches]))
        self.refused += [each.reason for each in outcome.errs]
        return [decode(Decision, output.value) for output in outcome.oks]


@pytest.fixture
def pipeline() -> Pipeline:
    return small_pipeline(extra=RULES)


def predictions(*given: Prediction, first: int = 0) -> Batch:
    return batch("p.predictions", [encode(each) for each in given], first)


def test_each_rule_decides_for_itself_and_a_record_says_all_that_led_to_it(pipeline: Pipeline) -> None:
    deciding = Deciding(pipeline)
    rows = [(0.05, "a"), (0.4, "a"), (0.5, "a"), (0.95, "a"), (0.95, "b"), (0.95, None), (0.95, None), (None, "c")]
    found = deciding.decisions(predictions(*(prediction(n, p, key) for n, (p, key) in enumerate(rows))))
    assert [(each.rule, each.event_id, each.decided) for each in found] == [
        ("no", "e0", "alert"),
        ("tell", "e2", "abstain"),
        ("tell", "e3", "alert"),
        ("tell", "e4", "alert"),
        ("tell", "e5", "alert"),
        ("tell", "e6", "alert"),
    ]
    assert found[0] == Decision(
        event_id="e0",
        business_id="b0",
        key="a",
        time=TIME,
        rule="no",
        decided="alert",
        of="no",
        probability=0.95,
        threshold=0.9,
        model="m1",
    )


def test_a_rule_that_follows_alerts_has_the_newest_threshold_that_finds_enough(pipeline: Pipeline) -> None:
    deciding = Deciding(pipeline)

    def found(number: int) -> list[tuple[str, str, str]]:
        return [each for each in deciding.feed(predictions(prediction(number, 0.4))) if each[0] == "found"]

    assert found(0) == [], "none is known"
    deciding.feed(batch("p.metrics", [None, b"alert_threshold", threshold(0.3)], 7))
    assert found(1) == [("found", "e1", "alert")]
    deciding.feed(batch("p.metrics", [threshold(None)], 10))
    assert found(2) == [("found", "e2", "alert")], "the one before holds"
    deciding.feed(batch("p.metrics", [threshold(0.45), threshold(7.0)], 11))
    assert found(3) == []
    assert deciding.step.threshold_at == 11


def test_what_is_read_again_is_not_decided_again(pipeline: Pipeline) -> None:
    first = Deciding(pipeline)
    log = [prediction(n, 0.95, f"k{n % 3}", n) for n in range(20)]
    before = first.decisions(predictions(*log))
    assert len(before) == 20
    again = Deciding(pipeline, before)
    assert again.feed(predictions(*log)) == []
    assert again.feed(predictions(prediction(20, 0.95, "k0", 20))) == [("tell", "e20", "suppressed")]


def test_a_prediction_that_is_written_once_more_is_not_decided_again(pipeline: Pipeline) -> None:
    deciding = Deciding(pipeline, Deciding(pipeline).decisions(predictions(prediction(0, 0.95))))
    log = [prediction(n, 0.95) for n in range(3)]
    assert [event for _, event, _ in deciding.feed(predictions(*log, *log))] == ["e1", "e2"]
    many = [prediction(n, 0.95) for n in range(3, 12_000)]
    assert len(deciding.feed(predictions(*many, first=10))) == len(many)
    assert deciding.feed(predictions(*log, *many, first=20_000)) == []


def test_what_no_rule_has_decided_is_passed_over_where_it_is_read_back() -> None:
    extra = '[[decisions]]\nname = "r"\nthreshold = 0.5\nsuppress = "1h"\nper_day = 5\n'
    (right,) = Deciding(small_pipeline(extra=extra)).decisions(predictions(prediction(0, 0.95, "a")))
    wrong = [
        replace(right, event_id="e1", probability=1e308),
        replace(right, event_id="e2", probability=-5.0),
        replace(right, event_id="e3", key="b", time=2**63 - 1),
    ]
    deciding = Deciding(small_pipeline(extra=extra), [right, *wrong])
    rows = [prediction(number, 0.95, f"k{number}") for number in range(4)]
    assert [event for _, event, _ in deciding.feed(predictions(*rows))] == ["e1", "e2", "e3"]
    assert deciding.step._rules[0].book.latest < 2**62


def test_a_followed_threshold_below_abstain_from_holds_all_the_same() -> None:
    rule = '[alerts]\nrecall = 0.8\n[[decisions]]\nname = "r"\nthreshold = "recall"\nabstain_from = 0.5\n'
    deciding = Deciding(small_pipeline(extra=rule))
    rows = [prediction(n, p) for n, p in enumerate([0.2, 0.4, 0.6])]
    assert deciding.feed(predictions(*rows)) == [("r", "e2", "abstain")], "none is known"
    deciding = Deciding(small_pipeline(extra=rule))
    deciding.feed(batch("p.metrics", [threshold(0.3)]))
    assert deciding.feed(predictions(*rows)) == [("r", "e1", "alert"), ("r", "e2", "alert")]


def test_records_that_are_no_predictions_are_refused_alone(pipeline: Pipeline) -> None:
    deciding = Deciding(pipeline)
    broken = [b"", b"{", encode(prediction(0, 7.0)), b"[" * 100_000, b"\xff"]
    whole = batch("p.predictions", [*broken, encode(prediction(1, 0.9, "a"))])
    assert deciding.feed(whole) == [("tell", "e1", "alert")]
    assert len(deciding.refused) == len(broken)


def test_the_latest_days_alerts_are_told_when_they_change(pipeline: Pipeline) -> None:
    deciding = Deciding(pipeline)
    deciding.feed(predictions(*(prediction(n, 0.95, f"k{n % 2}") for n in range(5))))

    def told(now: float) -> list[tuple[float | None, object, object, object]]:
        outputs = deciding.step.process(Received(), RoundContext(0, tick=now)).oks
        metrics = [decode(Metric, output.value) for output in outputs]
        return [(each.value, each.detail["tell.alert"], each.detail["tell.suppressed"], each.n) for each in metrics]

    assert told(100.0) == [(2, 2, 3, 5)]
    assert told(200.0) == []
    deciding.feed(predictions(prediction(9, 0.95, "k7")))
    assert told(205.0) == []
    assert told(300.0) == [(3, 3, 3, 6)]


def test_one_clock_that_is_fast_does_not_hide_the_days_decisions_behind_its_own(pipeline: Pipeline) -> None:
    deciding = Deciding(pipeline)
    deciding.step._wall = lambda: TIME
    deciding.feed(predictions(*(prediction(n, 0.95, f"k{n}") for n in range(5))))
    deciding.feed(predictions(prediction(9, 0.95, "fast", second=86_000)))
    (output,) = deciding.step.process(Received(), RoundContext(0, tick=100.0)).oks
    told = decode(Metric, output.value)
    assert (told.value, told.detail["day"]) == (5, "2025-06-15")


def test_metadata_of_another_program_is_refused_and_ones_own_says_where_the_threshold_is(pipeline: Pipeline) -> None:
    topics = ["p.predictions", "p.metrics"]
    step = DecideStep(pipeline)
    state = DecideState(pipeline, {"told": ByTopicStep(topics), "decide": step})
    metrics, partition = Partition("p.metrics", 0, "x"), Partition("p.predictions", 0, "x")
    assert state.open(metrics, "") is None
    step.process(Received([batch("p.metrics", [threshold(0.3)], 41)]), RoundContext(0, [metrics]))
    kept = state.metadata(metrics)
    assert state.open(partition, state.metadata(partition)) is None
    state.close(metrics)
    state.close(partition)
    assert state.open(metrics, kept) == 41
    for wrong in ("monitor1:{}", "decide1:x", f"decide1:{'9' * 30}"):
        with pytest.raises(TopicError, match="not one it wrote"):
            state.open(partition, wrong)


NUMBERS = """
    [[decisions]]
    name = "soon"
    at_most = 2
    abstain_from = 4
    [[decisions]]
    name = "sure"
    at_most = 2
    by = "high"
"""


def estimate(number: int, low: float, value: float, high: float) -> Prediction:
    return replace(prediction(number, None, f"k{number}"), value=value, low=low, high=high)


def test_rules_of_a_number_go_by_it_or_by_an_end_of_its_interval() -> None:
    deciding = Deciding(number_pipeline(extra=NUMBERS))
    rows = [(-1.0, 0.0, 1.5), (0.0, 2.0, 4.0), (1.0, 3.0, 5.0), (2.0, 4.5, 7.0)]
    given = [estimate(number, *row) for number, row in enumerate(rows)]
    found = deciding.decisions(predictions(*given, prediction(9, None), replace(prediction(10, 0.9), model="old")))
    assert [(each.rule, each.event_id, each.decided) for each in found] == [
        ("soon", "e0", "alert"),
        ("sure", "e0", "alert"),
        ("soon", "e1", "alert"),
        ("soon", "e2", "abstain"),
    ]
    first, sure = found[:2]
    assert (first.of, first.probability, first.threshold, first.by) == (None, None, 2, "value")
    assert (sure.by, sure.low, sure.value, sure.high) == ("high", -1, 0, 1.5)
    again = Deciding(number_pipeline(extra=NUMBERS), found)
    assert again.decisions(predictions(*given)) == []
    strangers = [replace(found[0], event_id="e1", by="low"), replace(found[0], event_id="e1", by=None, probability=0.9)]
    assert len(Deciding(number_pipeline(extra=NUMBERS), strangers).decisions(predictions(given[1]))) == 1


def test_a_number_that_lies_outside_its_interval_or_has_none_is_a_dead_letter() -> None:
    deciding = Deciding(number_pipeline(extra=NUMBERS))
    wrong = [estimate(1, 0.0, -1.0, 1.0), replace(estimate(2, 0.0, 0.0, 0.0), high=None)]
    assert deciding.decisions(predictions(*wrong)) == []
    assert [reason.partition(",")[0] for reason in deciding.refused] == ["low"] * 2
