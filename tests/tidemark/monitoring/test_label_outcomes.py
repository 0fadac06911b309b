"""Outcomes become labels: once each, whatever dies when, with the chance by which they were taken."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_batch import batch

from benchmarks.labels.proposal_streams import pipeline
from tidemark.evaluation.labels import final_labels, source_of
from tidemark.monitoring import MonitorProcessor, Options, event_names
from tidemark.monitoring.event_names import EventNames
from tidemark.monitoring.joined import prediction_dtype
from tidemark.pipeline.model import Outcomes, Pipeline
from tidemark.records import Label, Outcome, Prediction, Record, decode
from tidemark.runtime.processor import Output, Partition

DELAY, GRACE = 1_000_000, 500_000
PREDICTIONS, OTHER = (Partition("p.predictions", index, "0badcafe") for index in range(2))
OUTCOMES = Partition("p.outcomes", 0, "0badcafe")
LABELS = Partition("p.labels", 0, "0badcafe")
LANES = [PREDICTIONS, OTHER, OUTCOMES]


def pipe(outcomes: Outcomes | None) -> Pipeline:
    plain = pipeline(budget=2, explore=1, partitions=2)
    label = plain.label.model_copy(update={"delay": DELAY, "grace": GRACE, "outcomes": outcomes})
    return plain.model_copy(update={"label": label})


SOME = pipe(Outcomes(of="some"))
ALL = pipe(Outcomes(of="all"))
NUMBER = {"type": "number", "classes": [], "positive": "", "min": 0, "max": 5}
NUMBERS = SOME.model_copy(update={"label": SOME.label.model_copy(update=NUMBER)})


def event(number: int) -> str:
    return f"p.raw-{number % 2}-{number}-0badcafe"


def prediction(number: int, time: int, *, model: str = "m1") -> Prediction:
    return Prediction(
        event_id=event(number),
        business_id=f"b{number}",
        key=f"k{number % 3}",
        time=time,
        probabilities=[0.75, 0.25],
        uncertainty=None,
        model=model,
    )


def told(number: int, label: str, known_at: int, *, by_business: bool = False) -> Outcome:
    return Outcome(
        label=label,
        known_at=known_at,
        event_id=None if by_business else event(number),
        business_id=f"b{number}" if by_business else None,
    )


def opened(of: Pipeline) -> MonitorProcessor:
    processor = MonitorProcessor(of)
    for partition in (*LANES, LABELS):
        assert processor.open(partition, "") is None
    return processor


def labels_of(outputs: Sequence[Output]) -> list[Label]:
    return [decode(Label, output.value) for output in outputs if output.topic == "p.labels"]


def labeled(of: Pipeline, predictions: Sequence[Record], outcomes: Sequence[Record]) -> list[Label]:
    processor = opened(of)
    outputs = processor.process(batch(PREDICTIONS, predictions))
    return labels_of([*outputs, *processor.process(batch(OUTCOMES, outcomes))])


@pytest.mark.parametrize("by_business", [False, True])
@pytest.mark.parametrize("outcome_first", [False, True])
def test_an_outcome_becomes_a_label_of_the_event_that_it_is_of(*, by_business: bool, outcome_first: bool) -> None:
    processor = opened(SOME)
    batches = [
        batch(PREDICTIONS, [prediction(4, 100)]),
        batch(OUTCOMES, [told(4, "bad", 900, by_business=by_business)]),
    ]
    (found,) = labels_of(
        [output for each in (batches[::-1] if outcome_first else batches) for output in processor.process(each)]
    )
    assert (found.event_id, found.key, found.time, found.label) == (event(4), "k1", 100, "bad")
    assert (found.known_at, found.answered_at, found.share) == (900, 9_000_000, None)
    assert (found.model, found.features, found.definitions) == ("m1", {}, {})
    assert source_of(found) == "outcome"


def test_an_outcome_is_never_taken_for_a_random_draw() -> None:
    for of in (SOME, ALL):
        (found,) = labeled(of, [prediction(1, 0)], [told(1, "bad", 10)])
        assert (found.inclusion_probability, found.reason) == (None, "outcome")


def test_a_pipeline_that_does_not_learn_from_outcomes_makes_no_labels_of_them() -> None:
    assert labeled(pipe(None), [prediction(1, 0)], [told(1, "bad", 10)]) == []


def test_where_every_event_has_an_outcome_a_label_is_known_once_all_classes_have_had_their_time() -> None:
    early, late = labeled(ALL, [prediction(1, 7), prediction(2, 7)], [told(1, "bad", 10), told(2, "good", DELAY)])
    assert early.known_at == late.known_at == 7 + DELAY + GRACE
    assert early.share == late.share == 1.0


def test_a_corrected_outcome_is_a_label_too_and_the_one_that_was_known_last_counts() -> None:
    said = labeled(SOME, [prediction(1, 0)], [told(1, "bad", 10), told(1, "good", 20), told(1, "bad", 15)])
    assert [label.label for label in said] == ["bad", "good"]  # of a batch in the order in which they were known
    (final,) = final_labels(said[::-1])
    assert final.label == "good"
    assert labeled(SOME, [prediction(1, 0)], [told(1, "bad", 10)])[0].annotation_id != said[-1].annotation_id


@pytest.mark.parametrize("of", [SOME, ALL])
def test_the_outcome_that_was_known_last_counts_whichever_came_first_and_in_whichever_partition(of: Pipeline) -> None:
    late, early = told(1, "good", 20), told(1, "bad", -15)
    first = prediction(1, -20)
    processor = opened(of)
    outputs = [*processor.process(batch(OUTCOMES, [late, early])), *processor.process(batch(OTHER, [first]))]
    assert [label.label for label in final_labels(labels_of(outputs))] == ["good"]
    processor, elsewhere = opened(of), Partition("p.outcomes", 1, "0badcafe")
    processor.open(elsewhere, "")
    batches = [batch(OTHER, [first]), batch(elsewhere, [early]), batch(OUTCOMES, [late])]
    outputs = [output for each in batches for output in processor.process(each)]
    assert [label.label for label in final_labels(labels_of(outputs))] == ["good"]


@pytest.mark.parametrize("of", [SOME, ALL])
def test_an_outcome_that_says_the_same_again_is_no_further_label(of: Pipeline) -> None:
    processor = opened(of)
    outputs = list(processor.process(batch(PREDICTIONS, [prediction(2, 0)])))
    for night in range(3):  # all of the last days once more, as they are dumped
        again = [told(2, "bad", 10), told(2, "bad", 10 + night), told(2, "bad", 10, by_business=True)]
        outputs += processor.process(batch(OUTCOMES, again, 3 * night))
    assert [label.label for label in labels_of(outputs)] == ["bad"]
    outputs += processor.process(batch(OUTCOMES, [told(2, "good", 30), told(2, "bad", 40)], 9))
    assert [label.label for label in labels_of(outputs)] == ["bad", "good", "bad"]


def test_of_a_common_class_so_many_outcomes_are_taken_as_its_share_says_and_of_the_others_all() -> None:
    of = pipe(Outcomes(of="all", share={"good": 0.25}))
    events = [prediction(number, number) for number in range(2_000)]
    said = labeled(of, events, [told(n, "bad" if n % 10 == 0 else "good", 5_000) for n in range(2_000)])
    good, bad = ([label for label in said if label.label == name] for name in ("good", "bad"))
    assert len(bad) == 200
    assert 450 - 60 < len(good) < 450 + 60  # three standard deviations
    assert ({label.share for label in good}, {label.share for label in bad}) == ({0.25}, {1.0})


def test_what_corrects_a_label_that_was_taken_is_taken_as_well() -> None:
    of = pipe(Outcomes(of="all", share={"good": 1e-6}))
    said = labeled(
        of, [prediction(1, 0), prediction(2, 0)], [told(1, "bad", 10), told(1, "good", 20), told(2, "good", 9)]
    )
    assert [(label.event_id, label.label, label.share) for label in said] == [
        (event(1), "bad", 1.0),
        (event(1), "good", 1.0),
    ]


def test_what_corrects_a_correction_that_was_taken_is_taken_as_well() -> None:
    rare = pipe(Outcomes(of="all", share={"good": 1e-6, "fair": 1e-6}))
    classes = {"classes": ["good", "fair", "bad"]}
    of = rare.model_copy(update={"label": rare.label.model_copy(update=classes)})
    events = [msgspec.structs.replace(prediction(n, 0), probabilities=[0.5, 0.25, 0.25]) for n in (1, 2)]
    last = [told(1, "bad", 10), told(1, "good", 20), told(1, "fair", 30), told(2, "good", 10), told(2, "fair", 20)]
    said = labeled(of, events, last)
    assert [(label.event_id, label.label, label.share) for label in said] == [
        (event(1), name, 1.0) for name in ("bad", "good", "fair")
    ]
    processor = opened(of)
    outputs = processor.process(batch(PREDICTIONS, events))
    outputs += [output for at, each in enumerate(last) for output in processor.process(batch(OUTCOMES, [each], at))]
    assert labels_of(outputs) == said, "one after the other as all at once"


def test_an_outcome_that_is_a_label_measures_drawn_cases_and_is_no_answer_of_theirs() -> None:
    drawn: dict[str, object] = {
        "business_id": None,
        "key": None,
        "time": 0,
        "annotator": "ann",
        "known_at": 5,
        "answered_at": 5,
        "reason": "explore",
        "inclusion_probability": 0.5,
        "tile": 0,
        "tile_count": 100,
        "policy": "1",
        "features": {},
        "probabilities": [0.75, 0.25],
        "uncertainty": None,
        "model": "m1",
    }
    answers = [{"status": "answered", "label": "good"}] * 4 + [{"status": "expired", "label": None}] * 2
    people = [msgspec.convert(drawn | said | {"event_id": event(n)}, Label) for n, said in enumerate(answers)]
    outcomes = labeled(SOME, [prediction(n, n) for n in range(9)], [told(n, "bad", 50) for n in (0, 4, 5, 7, 8)])
    processor = opened(SOME)
    processor.process(batch(LABELS, [*outcomes[1:], *people, outcomes[0]]))
    processor.tick(0.0)
    found = {m["name"]: m for m in map(_metric, processor.tick(1_000.0)) if m["source"] == "labels"}
    assert (found["accuracy"]["value"], found["accuracy"]["n"]) == (0.75, 4)  # one answer was corrected
    assert found["response_rate"]["value"] == pytest.approx(4 / 6)


def _metric(output: Output) -> dict[str, object]:
    return dict(json.loads(output.value or b""))


# ---- crashes


@dataclass
class Engine:
    """Runs the monitor over logs as the engine does; a step is (partition, rows), and each is committed by itself."""

    logs: dict[Partition, list[Record]]
    committed: list[Output] = field(default_factory=list)
    metadata: dict[Partition, str] = field(default_factory=dict)
    position: dict[Partition, int] = field(default_factory=dict)
    of: Pipeline = SOME
    processor: MonitorProcessor = field(default_factory=lambda: MonitorProcessor(SOME, Options(window=DELAY)))

    def start(self, order: Sequence[Partition], new: Sequence[Partition] = ()) -> None:
        """A process takes over and replays, in this order; rows of some come while others are still read again."""
        self.processor = MonitorProcessor(self.of, Options(window=DELAY))
        rewind = {lane: self.processor.open(lane, self.metadata.get(lane, "")) for lane in self.logs}
        for lane in order:
            first, last = rewind[lane], self.position.get(lane, 0)
            for at in range(last if first is None else first, last, 7):
                rows = self.logs[lane][at : min(at + 7, last)]
                assert self.processor.process(batch(lane, rows, at, replay=True)) == []
            if lane in new:
                self.step(lane, self.position.get(lane, 0) + 5)
        self.committed += self.processor.tick(0.0)

    def step(self, lane: Partition, end: int) -> None:
        at = self.position.get(lane, 0)
        rows = self.logs[lane][at:end]
        if rows:
            self.committed += self.processor.process(batch(lane, rows, at))
            self.metadata[lane] = self.processor.metadata(lane)
            self.position[lane] = at + len(rows)


def logs_of(seed: int, size: int, names: tuple[str, str] = ("bad", "good")) -> dict[Partition, list[Record]]:
    rng = np.random.default_rng(seed)
    logs: dict[Partition, list[Record]] = {PREDICTIONS: [], OTHER: [], OUTCOMES: [], LABELS: []}
    for number, time in enumerate(np.sort(rng.integers(0, 3_000_000, size)).tolist()):
        logs[LANES[number % 2]].append(prediction(number, time))
        for _ in range(rng.integers(0, 3)):
            label = names[int(rng.random() >= 0.5)]
            after = int(rng.integers(0, DELAY))
            logs[OUTCOMES].append(told(number, label, time + after, by_business=bool(rng.random() < 0.5)))
    if seed % 3:  # else in the order of the events, whose outcomes come in any
        logs[OUTCOMES].sort(key=lambda record: record.known_at if isinstance(record, Outcome) else 0)
    return logs


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 60),
    st.lists(st.permutations(LANES), min_size=4, max_size=12),
    st.lists(
        st.tuples(st.integers(0, 36), st.permutations([*LANES, LABELS]), st.sets(st.sampled_from(LANES))), max_size=4
    ),
    st.sampled_from([SOME, ALL, NUMBERS]),
)
@settings(deadline=None, max_examples=120)
def test_a_run_with_crashes_comes_to_the_same_labels(
    seed: int,
    size: int,
    slices: list[list[Partition]],
    crashes: list[tuple[int, Sequence[Partition], set[Partition]]],
    of: Pipeline,
) -> None:
    logs = logs_of(seed, size, ("0.0", "2.5") if of is NUMBERS else ("bad", "good"))
    engine = Engine(logs, of=of)
    engine.start(list(logs))
    steps = [(lane, (i + 1) / len(slices)) for i, order in enumerate(slices) for lane in order]
    for number, (lane, share) in enumerate(steps):
        for _, order, new in [crash for crash in crashes if crash[0] == number]:
            engine.start(order, list(new))
        engine.step(lane, round(share * len(logs[lane])))
    for lane in logs:
        engine.step(lane, len(logs[lane]))
    engine.committed += engine.processor.tick(0.0)
    truth: dict[str, tuple[int, int, str]] = {}
    for offset, record in enumerate(logs[OUTCOMES]):
        assert isinstance(record, Outcome)
        name = record.event_id or event(int(str(record.business_id)[1:]))
        truth[name] = max(truth.get(name, (-1, -1, "")), (record.known_at, offset, str(record.label)))
    said = labels_of(engine.committed)
    found = {label.event_id: label.label for label in final_labels(said)}
    assert found == {name: label for name, (_, _, label) in truth.items()}
    if not crashes:
        assert len({label.annotation_id for label in said}) == len(said)


# ---- names


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), min_size=1, max_size=80))
def test_the_names_of_held_events_outlast_those_that_are_forgotten(events: list[tuple[int, bool]]) -> None:
    before, event_names._IN_FLIGHT = event_names._IN_FLIGHT, 2  # type: ignore[misc]
    try:
        names = EventNames(["p.raw"])
        held = np.zeros(0, prediction_dtype(2, named=True))
        kept: list[Prediction] = []
        for number, forget in events:
            one = prediction(number, 0)
            row = np.zeros(1, held.dtype)
            names.number(row, [one], np.zeros(1, np.int64))
            held, kept = np.concatenate([held, row])[-5:], [*kept, one][-5:]
            if forget:
                names.forget(held)
            assert [names.of(each) for each in held] == [(each.event_id, each.key) for each in kept]
    finally:
        event_names._IN_FLIGHT = before  # type: ignore[misc]


def test_an_event_id_that_is_none_of_ours_has_no_name() -> None:
    names = EventNames(["p.raw"])
    rows = np.zeros(4, prediction_dtype(2, named=True))
    ids = ["e1", "other-0-1-0badcafe", "p.raw-0-01-0badcafe", "p.raw-0-1-0BADCAFE"]
    found = [msgspec.structs.replace(prediction(1, 0), event_id=name) for name in ids]
    names.number(rows, found, np.arange(4))
    assert [names.of(row) for row in rows] == [None] * 4
