"""Records of the flows' own topics that somebody else wrote: dead letters or passed over, never the end of a flow."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import START, batch_of, label_values, small_pipeline
from mutants import mutants, single_mutants

from benchmarks.labels.proposal_streams import pipeline
from tidemark.errors import RecordError
from tidemark.monitoring import MonitorProcessor
from tidemark.observe.serving import Figures, Serving
from tidemark.records import (
    Candidate,
    Champion,
    Label,
    LabelFeatures,
    Metric,
    ModelManifest,
    Outcome,
    Prediction,
    Record,
    decode,
    encode,
)
from tidemark.registry.codec import Registry
from tidemark.registry.sandbox import Sandbox
from tidemark.runtime.processor import Batch, Partition
from tidemark.selection.checkpoint import Checkpoint
from tidemark.selection.restart import Stored, anew, ledger
from tidemark.training import RetrainProcessor

PREDICTION = Prediction(
    event_id="e1", business_id="b1", key="k", time=1_000, probabilities=[0.75, 0.25], uncertainty=0.5, model="m1"
)
OUTCOME = Outcome(label="bad", known_at=1_000, event_id="e1", business_id="b1")
METRIC = Metric(
    name="budget_spent", value=1.0, low=0.5, high=2.0, n=3, at=1, model="m", source="budget",
    detail={"tile": 3, "spent_in_all": 7, "flow": "stream", "refused": "m", "reason": "r"},
)  # fmt: skip
LABEL = decode(Label, label_values(1)[0])
CANDIDATE = msgspec.convert(
    {
        **msgspec.to_builtins(LABEL),
        "reason": "uncertain",
        "priority": 1.0,
        "context": {"c": 1},
        "expires_at": 1,
        "definitions": None,
    },
    Candidate,
)
FEATURES = LabelFeatures(event_id=LABEL.event_id, values={"a": 1.0}, tried="h")
TOPICS = {Prediction: "p.predictions", Outcome: "p.outcomes", Label: "p.labels"}
KINDS: list[Record] = [PREDICTION, OUTCOME, METRIC, LABEL, CANDIDATE, FEATURES, Champion(version="v1", since=1)]
LABEL_PIPELINE = small_pipeline(
    extra=(
        "[training]\nlearner = 'boosted'\n"
        "every = 40\nmin_labels = 20\nparams = { num_iterations = 2 }\n[gates]\nmin_holdout = 20"
    )
)
GOOD = label_values(60)


def of(record: Record) -> st.SearchStrategy[bytes]:
    return mutants(msgspec.to_builtins(record))


def batch(partition: Partition, values: list[bytes], start: int) -> Batch:
    n = len(values)
    return Batch(partition, np.arange(start, start + n), np.full(n, 9_000), [None] * n, list(values), [None] * n)


@given(st.data())
@settings(max_examples=300)
def test_a_record_is_decoded_or_refused_in_words(data: st.DataObject) -> None:
    record = data.draw(st.sampled_from(KINDS))
    value = data.draw(of(record))
    try:
        again = decode(type(record), value)
    except RecordError:
        return
    assert decode(type(record), encode(again)) == again


@given(st.lists(of(PREDICTION), max_size=3), st.lists(of(OUTCOME), max_size=3), st.lists(of(LABEL), max_size=3))
@settings(max_examples=150)
def test_no_prediction_outcome_or_label_ends_the_monitor(
    predictions: list[bytes], outcomes: list[bytes], labels: list[bytes]
) -> None:
    processor = MonitorProcessor(pipeline(budget=2, explore=1, partitions=1))
    good = {"predictions": encode(PREDICTION), "outcomes": encode(OUTCOME), "labels": encode(LABEL)}
    places = {name: Partition(f"p.{name}", 0, "0badcafe") for name in good}
    for partition in places.values():
        processor.open(partition, "")
    processor.tick(0.0)
    hostile = {"predictions": predictions, "outcomes": outcomes, "labels": labels}
    for name, partition in places.items():
        own = batch(partition, [good[name], *hostile[name], good[name]], 0)
        processor.event_time(own)
        for output in processor.process(own):
            assert output.topic == "p.deadletter"
    for output in processor.tick(100.0):
        if output.topic == "p.metrics":
            decode(Metric, output.value)
    for partition in places.values():
        processor.metadata(partition)
        processor.close(partition)


@pytest.fixture(scope="module")
def sandbox() -> object:
    with Sandbox() as shared:
        yield shared


@given(st.lists(of(LABEL), min_size=1, max_size=8), st.lists(st.integers(0, 60), min_size=8, max_size=8))
@settings(max_examples=25)
def test_no_label_ends_training(sandbox: Sandbox, hostile: list[bytes], places: list[int]) -> None:
    values = list(GOOD)
    for value, place in zip(hostile, places, strict=False):
        values.insert(place, value)
    processor = RetrainProcessor(LABEL_PIPELINE, read_registry=Registry, sandbox=sandbox)
    partition = Partition("p.labels", 0, "0a1b2c3d")
    processor.open(partition, "")
    outputs = processor.process(batch_of(values))
    outputs += processor.tick(START / 1e3)
    assert processor.metadata(partition)
    for output in outputs:
        if output.topic == "p.metrics":
            decode(Metric, output.value)
        if output.key is not None and output.key.startswith(b"v") and b"/" not in output.key:
            decode(ModelManifest, output.value)


@pytest.mark.parametrize("timestamp", [-1, START, 2**62])
def test_no_candidate_or_metric_spoils_where_selection_goes_on(timestamp: int) -> None:
    own = pipeline(budget=2, explore=1, partitions=1)
    for record in (CANDIDATE, METRIC):
        for value in single_mutants(msgspec.to_builtins(record)):
            stored = [Stored(0, timestamp, value, None)]
            known = ledger(own, stored, ()) if record is CANDIDATE else ledger(own, (), stored)
            assert Checkpoint.decode(anew(own, known)).ledger.in_all == known.ledger.in_all


def test_no_single_field_ends_the_monitor_or_is_measured_beside_what_is_right() -> None:
    processor = MonitorProcessor(pipeline(budget=2, explore=1, partitions=1))
    for record in (PREDICTION, OUTCOME, LABEL):
        values = list(single_mutants(msgspec.to_builtins(record)))
        partition = Partition(TOPICS[type(record)], 0, "0badcafe")
        processor.open(partition, "")
        for output in processor.process(batch(partition, values, 0)):
            assert output.topic == "p.deadletter"
        assert processor.metadata(partition)
    processor.tick(0.0)
    for output in processor.tick(100.0):
        if output.topic == "p.metrics":
            decode(Metric, output.value)


def test_no_single_field_of_a_label_ends_training(sandbox: Sandbox) -> None:
    hostile = list(single_mutants(msgspec.to_builtins(LABEL)))
    partition = Partition("p.labels", 0, "0a1b2c3d")
    processor = RetrainProcessor(LABEL_PIPELINE, read_registry=Registry, sandbox=sandbox)
    processor.open(partition, "")
    outputs = processor.process(batch_of([*hostile, *GOOD, *hostile, GOOD[0]]))
    assert processor.metadata(partition)
    assert [output for output in outputs if output.topic == "p.deadletter"]


@given(st.lists(of(METRIC), max_size=4))
@settings(max_examples=100)
def test_no_metric_ends_the_status(metrics: list[bytes]) -> None:
    serving, figures = Serving(), Figures()
    for value in metrics:
        try:
            metric = decode(Metric, value)
        except RecordError:
            continue
        if not serving.take(metric):
            figures.take(metric)
    figures.shown("m")
