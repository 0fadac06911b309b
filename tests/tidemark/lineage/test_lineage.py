"""`tidemark why` on a real Kafka: what is derived again equals what was recorded, and what differs is told."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from lineage_world import LineageWorld, run_shop
from streaming import DAY

from tidemark.lineage import Explainer, Lineage
from tidemark.lineage.explainer import UnknownEventError
from tidemark.records import Prediction, decode, encode
from tidemark.runtime.processor import Output
from tidemark.runtime.settings import Settings


@pytest.fixture(scope="module")
def its(kafka: Settings, tmp_path_factory: pytest.TempPathFactory) -> LineageWorld:
    """A pipeline over two keys that has run: its events are late, out of order, and some of its records are none."""
    return run_shop(kafka, f"why-{tmp_path_factory.mktemp('why').name}")


@pytest.fixture(scope="module")
def explainer(its: LineageWorld) -> Explainer:
    return Explainer(its.pipeline, its.settings)


def predictions(its: LineageWorld) -> list[Prediction]:
    return [decode(Prediction, value) for value in its.values(its.pipeline.topics.predictions)]


def test_every_event_comes_out_as_it_was_recorded(its: LineageWorld, explainer: Explainer) -> None:
    chosen = predictions(its)[::5]
    assert {prediction.late for prediction in chosen} == {False, True}
    assert {prediction.probabilities is None for prediction in chosen} == {False, True}
    for prediction in chosen:
        told = explainer.of(prediction.event_id)
        assert told.differences == [], prediction.event_id
        assert told.notes == []
        assert told.prediction == prediction
        assert told.late is prediction.late
        # key, time, business id, late; both stages' features; those of `P.features`
        assert told.compared > 4 + 2 * len(its.pipeline.features) + len(its.pipeline.feature_names)


def test_the_number_that_was_foretold_comes_out_again_with_what_moved_it(kafka: Settings, unique: str) -> None:
    its = run_shop(kafka, unique, 120, number=True)
    chosen = [each for each in predictions(its) if each.value is not None][::9]
    assert len(chosen) > 4
    with Explainer(its.pipeline, its.settings) as explainer:
        for prediction in chosen:
            told = explainer.of(prediction.event_id)
            assert (told.differences, told.notes) == ([], [])
            assert told.derived_estimate == [prediction.value, prediction.low, prediction.high]
            assert (told.derived_probabilities, told.of_class) == (None, "")
            moved = told.base + sum(part.contribution for part in told.contributions)
            assert min(max(moved, -10), 10) == pytest.approx(prediction.value)
        candidate = next(each for each in its.candidates if each.value is not None)
        its.learn(its.label(candidate))
        false = msgspec.structs.replace(candidate, high=(candidate.high or 0.0) + 1)
        its.produce([Output(its.pipeline.topics.candidates, encode(false))])
        told = explainer.of(candidate.event_id)
        assert (told.verdict, [model.version for model in told.models]) == ("2.5", ["v000002-0000000b"])
        (difference,) = told.differences
        assert (difference.what, difference.recorded) == ("number of high", false.high)


def test_rows_of_a_window_give_its_value(its: LineageWorld, explainer: Explainer) -> None:
    checked = 0
    for prediction in predictions(its)[::29]:
        told = explainer.of(prediction.event_id)
        by_name = {part.name: part for part in told.windows}
        count = by_name["who_count"]
        assert count.value == count.count
        own = next(row for row in by_name["who_visit_sum"].rows[::-1] if row.event_id == prediction.event_id)
        assert own.time == told.time, "a session that includes the event ends with it"
        assert by_name["who_mean_of_5"].count <= 5
        for name, of in (
            ("who_mean", np.mean),
            ("place_sum", np.sum),
            ("who_last", lambda values: values[-1]),
            ("who_mean_of_5", np.mean),
            ("who_visit_sum", np.sum),
            ("place_high_of_3", np.max),
        ):
            part = by_name[name]
            values = [row.value for row in part.rows if row.value is not None]
            if part.count == len(part.rows) and values:
                assert part.value is not None
                assert math.isclose(part.value, float(of(values)), rel_tol=1e-9)
                checked += 1
        ids = by_name["place_ids"]
        assert ids.value == ids.count  # each row has an id of its own
    assert checked > 10


def test_what_was_recorded_otherwise_is_told_with_both_values(its: LineageWorld, explainer: Explainer) -> None:
    candidate = its.candidates[0]
    false = msgspec.structs.replace(candidate, features={**candidate.features, "who_count": 77.0})
    its.produce([Output(its.pipeline.topics.candidates, encode(false))])
    told = explainer.of(candidate.event_id)
    (difference,) = told.differences
    assert (difference.what, difference.where) == ("feature who_count", its.pipeline.topics.candidates)
    assert (difference.derived, difference.recorded) == (candidate.features["who_count"], 77.0)
    its.produce([Output(its.pipeline.topics.candidates, encode(candidate))])
    assert explainer.of(candidate.event_id).differences == []


def test_candidates_answers_verdicts_models_and_outcomes_are_told(its: LineageWorld, explainer: Explainer) -> None:
    candidate = its.candidates[1]
    vote = its.label(candidate, status="vote", annotator="ben", annotation_id="a0")
    its.learn(vote, its.label(candidate))
    outcome = {"business_id": candidate.business_id, "label": "bad", "known_at": candidate.time + DAY}
    its.produce([Output(its.pipeline.topics.outcomes, msgspec.json.encode(outcome))])
    told = explainer.of(candidate.event_id)
    assert told.candidate == candidate
    assert told.score is not None
    assert told.score.proposed
    assert [(answer.annotator, answer.status) for answer in told.answers] == [("ben", "vote"), ("ada", "answered")]
    assert (told.verdict, told.word, told.conflict) == ("good", "person", False)
    assert [model.version for model in told.models] == ["v000002-0000000b"]
    assert [each.label for each in told.outcomes] == ["bad"]
    assert told.differences == []


def test_the_word_that_counts_is_told_and_that_others_said_another_class(
    its: LineageWorld, explainer: Explainer
) -> None:
    candidate = its.candidates[2]
    label = its.label(candidate)
    learnt = msgspec.structs.replace(
        label, label="bad", annotator="outcome", reason="outcome", source="outcome", features={}, annotation_id="o1"
    )
    its.produce([Output(its.pipeline.topics.labels, encode(each)) for each in (learnt, label)])
    told = explainer.of(candidate.event_id)
    assert (told.verdict, told.word, told.conflict) == ("bad", "outcome", True)
    assert [(answer.source, answer.label) for answer in told.answers] == [("outcome", "bad"), ("person", "good")]
    assert told.differences == []


def test_an_event_is_found_by_the_business_id(its: LineageWorld, explainer: Explainer) -> None:
    prediction = predictions(its)[17]
    assert prediction.business_id is not None
    told = explainer.of(f" {prediction.business_id} ")
    assert (told.event_id, told.others) == (prediction.event_id, [])


def test_a_record_that_could_not_be_processed_tells_its_reason(its: LineageWorld, explainer: Explainer) -> None:
    (batch,) = [
        batch for batch in its.batches(its.pipeline.raw_topics[0]) if b'{"at": "never"}' in batch.values
    ][:1]  # fmt: skip
    offset = int(batch.offsets[batch.values.index(b'{"at": "never"}')])
    place = batch.partition
    told = explainer.of(f"{place.topic}-{place.index}-{offset}-{place.incarnation}")
    assert told.refused is not None
    assert told.refused.startswith("decode: ")
    assert told.prediction is None


@pytest.mark.parametrize(
    "name",
    ["", "nobody", "P99999", "\x00", "%", "a-0-0-0", "é" * 5_000, "P1%", '"', "{topic}-0-999999-{incarnation}",
     "{topic}-7-0-{incarnation}", "{topic}-0-0-ffffffff", "{topic}-999999999-999999999999999999-{incarnation}"],
)  # fmt: skip
def test_what_names_no_event_is_told_so(name: str, its: LineageWorld, explainer: Explainer) -> None:
    place = its.batches(its.pipeline.raw_topics[0])[0].partition
    with pytest.raises(UnknownEventError) as told:
        explainer.of(name.replace("{topic}", place.topic).replace("{incarnation}", place.incarnation))
    assert len(str(told.value)) < 600


def test_a_lineage_is_json_and_back(its: LineageWorld, explainer: Explainer) -> None:
    told = explainer.of(its.candidates[0].event_id)
    assert msgspec.json.decode(msgspec.json.encode(told), type=Lineage) == told


def test_before_the_pipeline_has_run_nothing_is_known(kafka: Settings, unique: str, its: LineageWorld) -> None:
    fresh = its.pipeline.model_copy(update={"name": unique})
    with Explainer(fresh, kafka) as explainer, pytest.raises(UnknownEventError):
        explainer.of("P1")
