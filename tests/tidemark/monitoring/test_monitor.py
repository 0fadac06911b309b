import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_batch import batch

from benchmarks.labels.proposal_streams import pipeline
from tidemark.errors import TopicError
from tidemark.evaluation import metrics
from tidemark.monitoring import MonitorProcessor, Options
from tidemark.monitoring.checkpoint import PREFIX
from tidemark.pipeline.model import Pipeline
from tidemark.records import Metric, Outcome, Prediction, Record, decode, encode
from tidemark.runtime.processor import Output, Partition

DELAY, GRACE = 1_000_000, 500_000
PREDICTIONS = Partition("p.predictions", 0, "0badcafe")
OTHER = Partition("p.predictions", 1, "0badcafe")
OUTCOMES = Partition("p.outcomes", 0, "0badcafe")
LABELS = Partition("p.labels", 0, "0badcafe")


def pipe() -> Pipeline:
    plain = pipeline(budget=2, explore=1, partitions=1)
    return plain.model_copy(update={"label": plain.label.model_copy(update={"delay": DELAY, "grace": GRACE})})


def prediction(
    number: int, time: int, p: float | None = 0.25, *, business: str | None = None, model: str = "m1"
) -> Prediction:
    return Prediction(
        event_id=f"e{number}",
        business_id=business,
        key="k",
        time=time,
        probabilities=None if p is None else [1 - p, p],
        uncertainty=None,
        model="none" if p is None else model,
    )


def label(number: int, **changed: object) -> dict[str, object]:
    return {
        "event_id": f"e{number}",
        "business_id": None,
        "key": None,
        "time": number,
        "status": "answered",
        "label": "good",
        "annotator": "ann",
        "known_at": number,
        "answered_at": number,
        "reason": "explore",
        "inclusion_probability": 0.5,
        "tile": 0,
        "tile_count": 1_000,
        "policy": "1",
        "features": {"x": 1.0},
        "probabilities": [0.8, 0.2],
        "uncertainty": 0.4,
        "model": "m1",
        **changed,
    }


def monitor(options: Options | None = None, *partitions: Partition) -> MonitorProcessor:
    processor = MonitorProcessor(pipe(), options)
    for partition in partitions or (PREDICTIONS, OUTCOMES, LABELS):
        assert processor.open(partition, "") is None
    processor.tick(0.0)
    return processor


def measured(processor: MonitorProcessor, now: float = 100.0) -> dict[tuple[str, str], Metric]:
    found = [decode(Metric, output.value) for output in processor.tick(now)]
    return {(metric.source, metric.name): metric for metric in found}


def reasons(outputs: Iterable[Output]) -> list[str]:
    return [dict(o.headers)["reason"].decode() for o in outputs if o.topic == "p.deadletter"]


def test_outcomes_measure_the_events_whose_truth_has_had_its_time() -> None:
    rng = np.random.default_rng(2)
    p = np.round(rng.random(300), 3).astype(np.float32).astype(np.float64)
    truth = rng.random(300) < p
    processor = monitor()
    events = [prediction(i, i * 1_000, float(p[i]), business=f"b{i}") for i in range(300)]
    processor.process(batch(PREDICTIONS, events))
    told: list[Record] = [
        Outcome(
            label="bad" if truth[i] else "good",
            known_at=DELAY + i * 1_000,
            event_id=f"e{i}" if i % 2 else None,
            business_id=None if i % 2 else f"b{i}",
        )
        for i in range(300)
    ]
    assert processor.process(batch(OUTCOMES, told)) == []
    assert ("outcomes", "accuracy") not in measured(processor)
    later = 199 * 1_000 + DELAY + GRACE
    processor.process(batch(PREDICTIONS, [prediction(999, later)], 300))
    found = measured(processor, 200.0)
    mine, score = truth[:200], p[:200]
    precision, recall = metrics.precision_recall(mine, score, 0.5)
    expected = {
        "outcome_coverage": 1.0,
        "accuracy": float(np.mean((score > 0.5) == mine)),
        "log_loss": metrics.log_loss(mine.astype(np.int64), np.column_stack([1 - score, score])),
        "brier": metrics.brier(mine.astype(np.int64), np.column_stack([1 - score, score])),
        "base_rate": float(mine.mean()),
        "precision": precision,
        "recall": recall,
        "average_precision": metrics.average_precision(mine, score),
        "precision_at_100": metrics.precision_at(mine, score, 100),
    }
    values = {name: metric.value for (source, name), metric in found.items() if source == "outcomes"}
    assert values == pytest.approx(expected, rel=1e-6)
    for (source, name), metric in found.items():
        if source == "outcomes":
            assert metric.value is not None
            assert metric.low is not None
            assert metric.high is not None
            assert metric.low <= metric.value <= metric.high, name
            assert (metric.model, metric.n) == ("m1", 200)


def test_quality_is_not_shown_where_many_outcomes_are_missing() -> None:
    processor = monitor()
    processor.process(batch(PREDICTIONS, [prediction(i, i) for i in range(10)]))
    processor.process(batch(OUTCOMES, [Outcome(label="bad", known_at=DELAY, event_id=f"e{i}") for i in range(8)]))
    processor.process(batch(PREDICTIONS, [prediction(99, DELAY + GRACE + 9)], 10))
    found = measured(processor)
    assert [name for source, name in found if source == "outcomes"] == ["outcome_coverage"]
    assert found["outcomes", "outcome_coverage"].value == 0.8


def test_models_are_measured_apart_and_predictions_without_a_model_not_at_all() -> None:
    processor = monitor()
    rows = [prediction(0, 0, None), prediction(1, 1, 0.9, model="m1"), prediction(2, 2, 0.9, model="m2")]
    processor.process(batch(PREDICTIONS, rows))
    told = [Outcome(label=name, known_at=5, event_id=f"e{i}") for i, name in enumerate(["bad", "bad", "good"])]
    assert processor.process(batch(OUTCOMES, told)) == []
    processor.process(batch(PREDICTIONS, [prediction(99, DELAY + GRACE + 9)], 3))
    found = [decode(Metric, output.value) for output in processor.tick(100.0)]
    accuracy = {metric.model: metric.value for metric in found if metric.name == "accuracy"}
    assert accuracy == {"m1": 1.0, "m2": 0.0}


def test_labels_of_the_draw_measure_the_model_and_answers_are_counted() -> None:
    processor = monitor()
    labels = [label(i, label="bad" if i < 2 else "good") for i in range(10)]
    labels += [label(10, status="skipped", label=None), label(11, status="expired", label=None)]
    labels += [label(20 + i, label="bad", reason="uncertain", inclusion_probability=None) for i in range(9)]
    labels += [label(30, status="withdrawn", label=None, reason="uncertain", inclusion_probability=None)]
    said = [label(i, status=status, label="bad") for i in range(4) for status in ("vote", "gold", "escalated")]
    said += [label(0, status=status, label=None, tile_count=7) for status in ("commented", "requeued")]
    assert processor.process(batch(LABELS, labels[:5] + said + labels[5:])) == []
    found = measured(processor)
    accuracy = found["labels", "accuracy"]
    assert accuracy.value == pytest.approx(0.8)
    assert (accuracy.n, accuracy.model) == (10, "m1")
    assert found["labels", "response_rate"].value == pytest.approx(10 / 12)
    assert found["budget", "labels_answered"].value == 19
    assert found["budget", "labels_answered"].detail == {"explore": 10, "uncertain": 9}
    assert [found["budget", f"labels_{status}"].value for status in ("skipped", "expired", "withdrawn")] == [1, 1, 1]


def test_the_stream_is_measured_by_its_rate_and_its_delay() -> None:
    asked: list[dict[str, int]] = []

    def delays(written: Mapping[str, int]) -> tuple[float, float, int] | None:
        asked.append(dict(written))
        return (0.25, 1.5, 4) if len(asked) == 1 else None

    processor = MonitorProcessor(pipe(), Options(every=10.0), delays=delays)
    for partition in (PREDICTIONS, OUTCOMES, LABELS):
        processor.open(partition, "")
    processor.tick(100.0)
    processor.process(batch(PREDICTIONS, [prediction(i, 8_000_000 - i * 1_000_000) for i in range(5)]))
    assert processor.tick(109.0) == []
    found = {m.name: m for m in (decode(Metric, output.value) for output in processor.tick(110.0))}
    assert found["prediction_rate"].value == 0.5
    assert found["prediction_rate"].at == 110_000_000
    assert (found["prediction_delay_p50"].value, found["prediction_delay_p50"].n) == (0.25, 4)
    assert (found["prediction_delay_p99"].value, found["prediction_delay_p99"].n) == (1.5, 4)
    assert asked[0] == {f"e{i}": 9_000 for i in range(5)}
    assert {decode(Metric, output.value).name for output in processor.tick(120.0)} == {"prediction_rate"}
    assert len(asked) == 1
    processor.process(batch(PREDICTIONS, [prediction(i, 0) for i in range(5, 2_005)], 5))
    assert "prediction_delay_p50" not in {decode(Metric, output.value).name for output in processor.tick(130.0)}
    assert len(asked[1]) == 300
    assert list(asked[1])[-1] == "e2004"


def test_enough_new_labels_bring_a_measurement_forward() -> None:
    processor = monitor(Options(every=1_000.0, labels=5, soonest=101.0))
    processor.process(batch(LABELS, [label(i) for i in range(4)]))
    assert processor.tick(102.0) == []
    processor.process(batch(LABELS, [label(4)], 4))
    assert processor.tick(100.5) == []
    assert "accuracy" in {decode(Metric, output.value).name for output in processor.tick(102.5)}


@pytest.mark.parametrize(
    ("partition", "value", "reason"),
    [
        (PREDICTIONS, b"{", "not a Prediction record"),
        (PREDICTIONS, b"", "empty value"),
        (PREDICTIONS, b"\xff\xfe", "not a Prediction record"),
        (PREDICTIONS, encode(prediction(1, 2**62)), "is no time"),
        (PREDICTIONS, encode(prediction(1, 1)).replace(b"[0.75,0.25]", b"[1.0]"), "1 probabilities for 2 classes"),
        (PREDICTIONS, encode(prediction(1, 1)).replace(b"[0.75,0.25]", b"[9e99,0.25]"), "no probabilities that sum"),
        (OUTCOMES, b"[]", "not a Outcome record"),
        (OUTCOMES, encode(Outcome(label="ugly", known_at=1, event_id="e1")), "unknown class 'ugly'"),
        (OUTCOMES, encode(Outcome(label="bad", known_at=1)), "neither event_id nor business_id"),
        (OUTCOMES, encode(Outcome(label="bad", known_at=-(2**62), event_id="e1")), "is no time"),
        (LABELS, b"nonsense", "not a Label record"),
        (LABELS, json.dumps(label(1, label="ugly")).encode(), "unknown class 'ugly'"),
        (LABELS, json.dumps(label(1, probabilities=[1.0])).encode(), "1 probabilities for 2 classes"),
        (LABELS, json.dumps(label(1, probabilities=[0.7, 0.7])).encode(), "no probabilities that sum"),
        (LABELS, json.dumps(label(1, inclusion_probability=0.0)).encode(), "no probability above 0"),
        (LABELS, json.dumps(label(1, tile_count=0)).encode(), "no number of events"),
        (LABELS, json.dumps(label(1, tile_count=999)).encode(), "1000 in other labels"),
    ],
)
def test_what_cannot_be_measured_is_a_dead_letter_and_its_neighbours_count(
    partition: Partition, value: bytes, reason: str
) -> None:
    good: dict[Partition, list[bytes]] = {
        PREDICTIONS: [encode(prediction(i, i)) for i in range(3)],
        OUTCOMES: [encode(Outcome(label="bad", known_at=5, event_id=f"e{i}")) for i in range(3)],
        LABELS: [json.dumps(label(i)).encode() for i in range(3)],
    }
    processor = monitor()
    dead: list[Output] = []
    for place, values in good.items():
        dead += processor.process(batch(place, [*values[:2], value, values[2]] if place == partition else values))
    assert len(dead) == 1
    assert reason in reasons(dead)[0]
    assert dead[0].value == value
    headers = dict(dead[0].headers)
    assert (headers["source_topic"], headers["source_offset"]) == (partition.topic.encode(), b"2")
    found = measured(processor)
    assert found["stream", "prediction_rate"].n == 3
    assert found["labels", "accuracy"].n == 3
    assert (processor.join.joined.predictions.rows["truth"] == 1).all()


def test_more_labels_of_a_tile_than_it_has_events_are_refused() -> None:
    processor = monitor()
    outputs = processor.process(batch(LABELS, [label(i, tile_count=2) for i in range(3)]))
    assert reasons(outputs) == ["tile 0 has 2 events, and more of them are labeled"]


def test_an_outcome_of_an_unknown_event_waits_for_the_grace_and_is_then_a_dead_letter() -> None:
    processor = monitor()
    told = [Outcome(label="bad", known_at=1_000, event_id=name) for name in ("e7", "stranger")]
    assert processor.process(batch(OUTCOMES, told)) == []
    assert processor.process(batch(PREDICTIONS, [prediction(7, 900), prediction(9, 1_000 + GRACE - 1)])) == []
    outputs = processor.process(batch(PREDICTIONS, [prediction(8, 1_000 + GRACE)], 2))
    assert reasons(outputs) == [
        "no prediction of the event it names lies within label.delay + label.grace before its known_at"
    ]
    assert outputs[0].value == encode(told[1])
    too_late = [Outcome(label="bad", known_at=0, event_id="stranger2")]
    assert len(processor.process(batch(OUTCOMES, too_late, 2))) == 1


def test_an_outcome_is_not_given_up_while_a_partition_with_its_prediction_is_behind() -> None:
    far = 40 * (DELAY + GRACE)
    processor = monitor(None, PREDICTIONS, OTHER, OUTCOMES)
    assert processor.process(batch(PREDICTIONS, [prediction(1, 10), prediction(2, far)])) == []
    assert processor.process(batch(OUTCOMES, [Outcome(label="bad", known_at=20, event_id="e3")])) == []
    assert processor.tick(0.0) == []
    assert processor.process(batch(OTHER, [prediction(3, 15), prediction(4, far)])) == []
    assert processor.join.joined.predictions.rows["truth"].tolist() == [-1, -1, 1, -1]


def test_predictions_are_not_forgotten_while_a_partition_with_their_outcomes_is_behind() -> None:
    far = 40 * (DELAY + GRACE)
    processor = monitor(Options(window=DELAY), PREDICTIONS, OUTCOMES)
    processor.process(batch(OUTCOMES, [Outcome(label="bad", known_at=20, event_id="e1")]))
    assert processor.process(batch(PREDICTIONS, [prediction(1, 10), prediction(2, 20), prediction(3, far)])) == []
    assert processor.process(batch(OUTCOMES, [Outcome(label="bad", known_at=25, event_id="e2")], 1)) == []
    assert processor.join.joined.predictions.rows["truth"].tolist() == [1, 1, -1]


def test_a_partition_that_has_been_silent_for_long_holds_nobody_back() -> None:
    processor = monitor(Options(every=1e9, silence=30.0), PREDICTIONS, OTHER, OUTCOMES)
    processor.process(batch(OTHER, [prediction(1, 10)]))
    processor.process(batch(PREDICTIONS, [prediction(2, 20 + GRACE)]))
    stranger = Outcome(label="bad", known_at=20, event_id="stranger")
    assert processor.process(batch(OUTCOMES, [stranger])) == []
    assert processor.tick(100.0) == processor.tick(129.0) == []
    processor.process(batch(OTHER, [prediction(3, 11)], 1))
    assert processor.tick(131.0) == processor.tick(160.0) == []
    assert [output.value for output in processor.tick(161.5)] == [encode(stranger)]


def test_outcomes_wait_in_a_bounded_room() -> None:
    processor = monitor(Options(most_waiting=3))
    told = [Outcome(label="bad", known_at=10 * i, event_id=f"stranger{i}") for i in range(5)]
    outputs = processor.process(batch(OUTCOMES, told))
    assert [output.value for output in outputs] == [encode(told[0]), encode(told[1])]
    assert reasons(outputs) == ["more than 3 outcomes wait for the prediction of their event"] * 2


def test_outcomes_that_were_given_up_for_want_of_room_are_not_given_up_again_after_a_crash() -> None:
    told: list[Record] = [Outcome(label="bad", known_at=10 * i, event_id=f"stranger{i}") for i in range(9)]
    engine = Engine({PREDICTIONS: [], OUTCOMES: told, LABELS: []}, Options(most_waiting=3))
    engine.start([])
    engine.step(OUTCOMES, 8)
    engine.start([PREDICTIONS, OUTCOMES])
    engine.step(OUTCOMES, 9)
    assert [output.value for output in engine.committed] == [encode(outcome) for outcome in told[:6]]


def test_no_outcome_is_given_up_while_its_prediction_may_be_still_to_be_read_again() -> None:
    logs: dict[Partition, list[Record]] = {
        PREDICTIONS: [prediction(1, 10), prediction(2, DELAY + GRACE)],
        OUTCOMES: [Outcome(label="bad", known_at=20, event_id=name) for name in ("e1", "stranger")],
        LABELS: [],
    }
    engine = Engine(logs, Options())
    engine.start([])
    engine.step(PREDICTIONS, 2)
    engine.start([])
    engine.step(OUTCOMES, 2)
    assert engine.committed == []
    assert engine.processor is not None
    assert engine.processor.process(batch(PREDICTIONS, logs[PREDICTIONS], replay=True)) == []
    assert [output.value for output in engine.processor.tick(0.0)] == [encode(logs[OUTCOMES][1])]


def test_rows_that_are_no_more_do_not_keep_outcomes_waiting() -> None:
    logs: dict[Partition, list[Record]] = {
        PREDICTIONS: [prediction(2, DELAY + GRACE)],
        OUTCOMES: [Outcome(label="bad", known_at=20, event_id="stranger")],
        LABELS: [],
    }
    engine = Engine(logs, Options())
    engine.start([])
    engine.step(PREDICTIONS, 1)
    engine.start([])
    engine.step(OUTCOMES, 1)
    assert engine.processor is not None
    assert len(reasons(engine.processor.tick(0.0))) == 1


def test_memory_is_bounded_by_time_and_by_number() -> None:
    processor = monitor(Options(window=1_000_000, most_events=500, most_outcomes=200, most_labels=40))
    for start in range(0, 3_000, 100):
        processor.process(batch(PREDICTIONS, [prediction(i, i * 100) for i in range(start, start + 100)], start))
        told = [Outcome(label="bad", known_at=i * 100, event_id=f"e{i}") for i in range(start, start + 100)]
        processor.process(batch(OUTCOMES, told, start))
        processor.process(batch(LABELS, [label(i, tile=i // 5) for i in range(start, start + 100)], start))
    assert len(processor.join.joined.predictions) <= 600
    assert len(processor.join.joined.outcomes) <= 300
    assert len(processor.labels.book._labels) == 40
    assert len(processor.labels.book._tiles) == 8
    processor.process(batch(PREDICTIONS, [prediction(9_999, 50_000_000)], 3_000))
    processor.tick(100.0)
    processor.tick(131.0)  # the outcomes are silent
    assert len(processor.join.joined.predictions) == 1
    assert len(processor.join.joined.outcomes) == 0
    assert len(processor.metadata(PREDICTIONS)) < 4_000


def test_a_partition_taken_away_takes_its_rows_along() -> None:
    processor = monitor(None, PREDICTIONS, OTHER, OUTCOMES, LABELS)
    processor.process(batch(PREDICTIONS, [prediction(1, 10)]))
    processor.process(batch(OTHER, [prediction(2, 20)]))
    processor.process(batch(OUTCOMES, [Outcome(label="bad", known_at=30, event_id=f"e{i}") for i in (1, 2, 3)]))
    processor.process(batch(LABELS, [label(1)]))
    processor.close(OTHER)
    assert processor.join.joined.predictions.rows["time"].tolist() == [10]
    processor.close(OUTCOMES)
    assert len(processor.join.joined.outcomes) == len(processor.join.waiting) == 0
    processor.close(LABELS)
    assert processor.labels.book.rewind() is None
    processor.close(PREDICTIONS)
    assert len(processor.join.joined.predictions) == 0


def test_foreign_metadata_is_refused_with_what_to_do() -> None:
    with pytest.raises(TopicError, match="tidemark reset FILE monitor --to earliest"):
        MonitorProcessor(pipe()).open(PREDICTIONS, "select1:abc")


def test_alignment_goes_by_event_time_of_predictions_and_outcomes_and_leaves_labels_alone() -> None:
    processor = monitor()
    rows = batch(PREDICTIONS, [prediction(1, 40), prediction(2, 30)])
    processor.process(rows)
    assert processor.event_time(rows) == 40
    rows = batch(OUTCOMES, [Outcome(label="bad", known_at=70, event_id="e1")])
    processor.process(rows)
    assert processor.event_time(rows) == 70
    rows = batch(LABELS, [label(1)])
    processor.process(rows)
    assert processor.event_time(rows) is None
    assert list(processor.topics) == ["p.predictions", "p.labels", "p.outcomes", "p.sample"]


def test_each_partition_is_aligned_by_its_own_last_batch_whichever_was_processed_after_it() -> None:
    processor = monitor()
    events, truths = (
        batch(PREDICTIONS, [prediction(1, 40)]),
        batch(OUTCOMES, [Outcome(label="bad", known_at=70, event_id="e1")]),
    )
    labels = batch(LABELS, [label(1)])
    for rows in (events, truths, labels):
        processor.process(rows)
    assert [processor.event_time(rows) for rows in (events, truths, labels)] == [40, 70, None]


@dataclass
class Engine:
    """Runs the monitor over logs as the engine does; a step is (partition, rows), and each is committed by itself."""

    logs: dict[Partition, list[Record]]
    options: Options
    committed: list[Output] = field(default_factory=list)
    metadata: dict[Partition, str] = field(default_factory=dict)
    position: dict[Partition, int] = field(default_factory=dict)
    processor: MonitorProcessor | None = None

    def start(self, order: Sequence[Partition]) -> None:
        """A process takes over and replays, the partitions in this order."""
        self.processor = MonitorProcessor(pipe(), self.options)
        rewind = {
            partition: self.processor.open(partition, self.metadata.get(partition, "")) for partition in self.logs
        }
        for partition in order:
            first, last = rewind[partition], self.position.get(partition, 0)
            for at in range(last if first is None else first, last, 7):
                rows = self.logs[partition][at : min(at + 7, last)]
                assert self.processor.process(batch(partition, rows, at, replay=True)) == []

    def step(self, partition: Partition, end: int) -> None:
        """Process and commit the rows of a partition up to `end`: only its own metadata goes with them."""
        assert self.processor is not None
        at = self.position.get(partition, 0)
        rows = self.logs[partition][at:end]
        if rows:
            self.committed += self.processor.process(batch(partition, rows, at))
            self.metadata[partition] = self.processor.metadata(partition)
            self.position[partition] = at + len(rows)

    def final(self) -> dict[tuple[str, str, str], float | None]:
        assert self.processor is not None
        self.processor.tick(0.0)
        outputs = self.processor.tick(1_000.0)
        self.committed += [output for output in outputs if output.topic == "p.deadletter"]
        found = [decode(Metric, output.value) for output in outputs if output.topic == "p.metrics"]
        return {(m.source, m.model, m.name): m.value for m in found if m.source in ("labels", "outcomes")}


def when(record: Record) -> int:
    if isinstance(record, Prediction):
        return record.time
    assert isinstance(record, Outcome)
    return record.known_at


def logs_of(seed: int, size: int) -> dict[Partition, list[Record]]:
    rng = np.random.default_rng(seed)
    pace = 4 * (DELAY + GRACE) / size
    times = [np.sort(rng.integers(0, int(size * pace), size)).tolist() for _ in range(2)]
    both = (PREDICTIONS, OTHER)
    predicted: dict[Partition, list[Record]] = {
        lane: [
            prediction(lane.index * size + i, t, float(rng.random()), business=f"b{rng.integers(size)}")
            for i, t in enumerate(times[lane.index])
        ]
        for lane in both
    }
    told: list[tuple[int, Record]] = []
    for lane in both:
        for one in predicted[lane]:
            assert isinstance(one, Prediction)
            known_at = one.time + int(DELAY * rng.random() * 1.5)
            name = one.event_id if rng.random() < 0.9 else f"stranger{len(told)}"
            answer = "bad" if rng.random() < 0.3 else "good"
            by_event = rng.random() < 0.7 or name != one.event_id
            told.append(
                (
                    known_at,
                    Outcome(
                        label=answer,
                        known_at=known_at,
                        event_id=name if by_event else None,
                        business_id=None if by_event else one.business_id,
                    ),
                )
            )
    told.sort(key=lambda pair: pair[0])
    return {**predicted, OUTCOMES: [record for _, record in told], LABELS: []}


def met(outcome: Outcome, predictions: Iterable[Record]) -> bool:
    """Whether a prediction is of the event that the outcome names, and from the time before in which it can be."""
    return any(
        isinstance(one, Prediction)
        and (one.event_id == outcome.event_id or one.business_id == outcome.business_id)
        and 0 <= outcome.known_at - one.time <= DELAY + GRACE
        for one in predictions
    )


lanes = [PREDICTIONS, OTHER, OUTCOMES]


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 60),
    st.lists(st.permutations(lanes), min_size=8, max_size=20),
    st.lists(st.tuples(st.integers(0, 60), st.permutations([*lanes, LABELS])), max_size=4),
    st.sampled_from([3, 1_000]),
)
@settings(deadline=None, max_examples=150)
def test_a_run_with_crashes_gives_up_the_same_outcomes_and_measures_the_same(
    seed: int,
    size: int,
    slices: list[list[Partition]],
    crashes: list[tuple[int, Sequence[Partition]]],
    most_waiting: int,
) -> None:
    logs = logs_of(seed, size)
    options = Options(window=DELAY, most_waiting=most_waiting)
    plain, crashing = Engine(logs, options), Engine(logs, options)
    plain.start(list(logs))
    crashing.start(list(logs))
    steps = [(partition, (i + 1) / len(slices)) for i, order in enumerate(slices) for partition in order]
    for number, (partition, share) in enumerate(steps):
        for _, order in [crash for crash in crashes if crash[0] == number]:
            crashing.start(order)
        for engine in (plain, crashing):
            engine.step(partition, sum(when(record) <= share * 4.5 * (DELAY + GRACE) for record in logs[partition]))

    def letters(engine: Engine) -> list[tuple[bytes | None, str]]:
        return [(output.value, dict(output.headers)["reason"].decode()) for output in engine.committed]

    assert crashing.final() == pytest.approx(plain.final(), nan_ok=True)
    assert letters(crashing) == letters(plain)
    unmet = [decode(Outcome, value) for value, reason in letters(plain) if reason.startswith("no prediction")]
    assert [outcome for outcome in unmet if met(outcome, [*logs[PREDICTIONS], *logs[OTHER]])] == []


def test_strangers_are_given_up_once_while_new_rows_come_between_those_that_are_read_again() -> None:
    strangers = [Outcome(label="bad", known_at=i * 1_000, event_id=f"stranger{i}") for i in range(40)]
    logs: dict[Partition, list[Record]] = {
        PREDICTIONS: [prediction(i, i * 20_000) for i in range(120)],
        OUTCOMES: list(strangers),
        LABELS: [],
    }
    engine = Engine(logs, Options())
    engine.start(list(logs))
    engine.step(PREDICTIONS, 25)
    engine.step(OUTCOMES, 10)
    assert engine.committed == []
    processor = MonitorProcessor(pipe(), Options())
    rewind = {partition: processor.open(partition, engine.metadata.get(partition, "")) for partition in logs}
    engine.processor = processor
    assert rewind[PREDICTIONS] == rewind[OUTCOMES] == 0
    processor.process(batch(OUTCOMES, logs[OUTCOMES][:10], replay=True))
    engine.step(OUTCOMES, 20)  # new rows, before the predictions have been read again
    assert processor.process(batch(PREDICTIONS, logs[PREDICTIONS][:25], replay=True)) == []
    for end in (25, 30, 35, 40):
        engine.step(OUTCOMES, end)
        engine.step(PREDICTIONS, 3 * end)
    assert [output.value for output in engine.committed] == [encode(stranger) for stranger in strangers]
    assert math.isfinite(processor.join._clock)
    assert engine.metadata[PREDICTIONS].startswith(PREFIX)


def test_what_was_scored_for_other_classes_before_an_edit_is_no_dead_letter_and_is_not_measured() -> None:
    processor = monitor()
    old = [encode(prediction(i, i)).replace(b"[0.75,0.25]", b"[0.5,0.25,0.25]") for i in range(10, 13)]
    waiting = [json.dumps(label(i, probabilities=[0.5, 0.25, 0.25])).encode() for i in range(10, 13)]
    dead = processor.process(batch(PREDICTIONS, [*old, *(encode(prediction(i, i)) for i in range(3))]))
    dead += processor.process(batch(LABELS, [*waiting, *(json.dumps(label(i)).encode() for i in range(3))]))
    dead += processor.process(batch(OUTCOMES, [encode(Outcome(label="bad", known_at=5, event_id="e11"))]))
    assert dead == []
    assert measured(processor)["labels", "accuracy"].n == 3


YEAR_9998 = 253_339_228_800_000_000
CAME = 9_000_000  # µs: when the records of `batch` came


def waiting_outcome(processor: MonitorProcessor) -> list[Output]:
    """An outcome of an event that is predicted only later."""
    return processor.process(batch(OUTCOMES, [Outcome(label="bad", known_at=CAME, event_id="e7")]))


@pytest.mark.parametrize("timestamp", [9_000, -1, YEAR_9998 // 1_000], ids=["ordinary", "none", "far ahead"])
def test_a_prediction_of_the_year_9998_moves_no_time_and_is_a_dead_letter(timestamp: int) -> None:
    processor = MonitorProcessor(pipe(), None, lambda: CAME)
    for partition in (PREDICTIONS, OUTCOMES, LABELS):
        processor.open(partition, "")
    assert waiting_outcome(processor) == []
    early = batch(PREDICTIONS, [prediction(1, YEAR_9998), prediction(2, CAME)])
    early.timestamps[:] = timestamp
    (reason,) = reasons(processor.process(early))
    assert "is more than time.max_ahead after the record came" in reason
    assert processor.process(batch(PREDICTIONS, [prediction(7, CAME - DELAY)], 2)) == []
    assert str(YEAR_9998)[:6] not in processor.metadata(PREDICTIONS)


@given(ahead=st.integers(0, 2 * 86_400_000_000))
@settings(max_examples=30, deadline=None)
def test_no_clock_of_a_device_moves_the_monitors_time_beyond_skew_after_kafkas(ahead: int) -> None:
    processor = MonitorProcessor(pipe(), None, lambda: CAME)
    for partition in (PREDICTIONS, OUTCOMES, LABELS):
        processor.open(partition, "")
    processor.process(batch(PREDICTIONS, [prediction(1, CAME + ahead)]))
    mark = json.loads(processor.metadata(PREDICTIONS).removeprefix(PREFIX))
    assert mark["clock"] == mark["reached"] == CAME + min(ahead, pipe().time.most_skew)


def test_impossible_times_that_an_earlier_version_committed_are_brought_back() -> None:
    processor = MonitorProcessor(pipe(), None, lambda: CAME)
    far = {"rewind": None, "last": 5, "clock": YEAR_9998, "given_up": YEAR_9998, "decided": 5, "reached": YEAR_9998}
    for partition in (PREDICTIONS, OUTCOMES, LABELS):
        processor.open(partition, PREFIX + json.dumps(far))
    assert waiting_outcome(processor) == []
    assert processor.tick(0.0) == []
    assert processor.process(batch(PREDICTIONS, [prediction(7, CAME - DELAY)], 6)) == []
    assert str(YEAR_9998)[:6] not in processor.metadata(PREDICTIONS)
