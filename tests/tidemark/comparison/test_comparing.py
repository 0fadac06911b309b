"""Two models on labels: those that one has learnt from count for neither, and what can't be told is said."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import INCARNATION, label_of, number_pipeline, numbers, registry_of, rows, small_model, small_pipeline

from tidemark.comparison import Compared, basis_words, compared_words, made_words
from tidemark.comparison.comparing import on_labels
from tidemark.comparison.reading import LabelsRead, may_know
from tidemark.records import Label, LabelRange, ModelManifest
from tidemark.registry.codec import Registry, publish
from tidemark.registry.schema import ModelSchema

PIPELINE = small_pipeline()
TOPIC = PIPELINE.topics.labels
_FAR = 2**60


def made(version: str, end: int, *, wrong: bool = False, incarnation: str = INCARNATION) -> tuple[ModelManifest, str]:
    """A model that says it has learnt from the labels before an offset."""
    model, manifest = small_model(ModelSchema.of(PIPELINE), version=version, seed=0, trees=20, wrong=wrong)
    ranges = [LabelRange(topic=TOPIC, partition=0, start=0, end=end, incarnation=incarnation)]
    return msgspec.structs.replace(manifest, trained_on=ranges, known_until=_FAR), model.text


def labels(count: int, *, drawn: bool = False) -> list[Label]:
    features, target = rows(count, 7)
    found = []
    for index in range(count):
        label = label_of(index, features[index].tolist(), PIPELINE.label.classes[int(target[index])])
        if drawn and index % 2:
            label = msgspec.structs.replace(label, reason="explore", inclusion_probability=0.2, tile=index // 4)
        found.append(label)
    return found


def read(given: Sequence[Label], manifests: Sequence[ModelManifest]) -> LabelsRead:
    """As `read_labels` sorts them."""
    learnt = [
        [(offset, label) for offset, label in enumerate(given) if may_know(each, offset, label, TOPIC, INCARNATION)]
        for each in manifests
    ]
    events = {label.event_id for each in learnt for _, label in each}
    unseen = [(offset, label) for offset, label in enumerate(given) if label.event_id not in events]
    return LabelsRead(INCARNATION, learnt, unseen)


def compare(given: Sequence[Label], first: int, second: int, *, wrong: bool = False) -> Compared:
    """Models that have learnt from the labels before two offsets; the second the opposite of the truth, if wrong."""
    models = made("v000001-0000000a", first), made("v000002-0000000b", second, wrong=wrong)
    manifests = [manifest for manifest, _ in models]
    outputs = [each for manifest, text in models for each in publish(manifest, text, topic=PIPELINE.topics.models)]
    registry: Registry = registry_of(outputs)
    published = [registry.manifests[each.version] for each in manifests]
    return on_labels(PIPELINE, registry, published[0], published[1], read(given, published))


def test_labels_that_either_has_learnt_from_count_for_neither() -> None:
    found = compare(labels(200), 40, 120)
    assert (found.n, found.unseen, found.shared, found.why) == (80, 80, 40, "")
    assert not found.drawn
    assert "not of the stream" in basis_words(found)
    assert (found.first.made_of.found, found.second.made_of.found) == (40, 120)


def test_a_correction_of_a_label_that_was_learnt_from_makes_the_event_no_newer() -> None:
    given = labels(100)
    given.append(msgspec.structs.replace(given[3], label="yes", annotator="bob"))
    assert compare(given, 50, 60).n == 40


def test_the_random_draw_decides_where_there_is_one_and_stands_for_the_stream() -> None:
    found = compare(labels(200, drawn=True), 20, 40)
    assert found.drawn
    assert (found.n, found.unseen) == (80, 160)
    assert "each stands for the events it was drawn from" in basis_words(found)


def test_a_model_that_has_learnt_the_opposite_is_shown_to_be_worse() -> None:
    found = compare(labels(400), 20, 40, wrong=True)
    assert found.difference is not None
    assert (found.difference.low or 0) > 0
    assert "The first is better" in dict(compared_words(found))["difference"][0]
    accuracy = [{figure.name: figure for figure in side.figures}["accuracy"] for side in (found.first, found.second)]
    assert (accuracy[0].low or 0) > (accuracy[1].high or 1)
    assert found.first.curve
    assert (found.second.calibration_error or 0) > (found.first.calibration_error or 1)


def test_the_same_model_twice_is_no_better_than_itself() -> None:
    found = compare(labels(200), 20, 20)
    assert (found.difference and found.difference.value) == 0
    assert found.first.figures == found.second.figures
    assert "Neither is shown to be better" in dict(compared_words(found))["difference"][0]


@pytest.mark.parametrize(("count", "words"), [(60, "none is new"), (61, "one of the labels is new"), (65, "5 labels")])
def test_too_few_labels_are_no_figures_but_a_sentence(count: int, words: str) -> None:
    found = compare(labels(count), 30, 60)
    assert "too few to tell" in found.why
    assert words in found.why
    assert (found.first.figures, found.second.curve, found.difference) == ([], [], None)
    assert dict(compared_words(found))["unseen labels"] == [found.why]


def test_no_label_at_all_is_no_mistake() -> None:
    found = compare([], 30, 60)
    assert (found.n, found.unseen) == (0, 0)
    assert "none is new to both models" in found.why


def test_a_model_that_takes_what_is_computed_no_more_is_named() -> None:
    first, text = made("v000001-0000000a", 20)
    second, other = made("v000002-0000000b", 20)
    first = msgspec.structs.replace(first, definitions=dict.fromkeys(first.features, "gone"))
    registry = registry_of([*publish(first, text, topic="p.models"), *publish(second, other, topic="p.models")])
    manifests = [registry.manifests[each.version] for each in (first, second)]
    found = on_labels(PIPELINE, registry, manifests[0], manifests[1], read(labels(100), manifests))
    assert "v000001-0000000a can't answer" in found.why
    assert (found.n, found.first.figures) == (80, [])


def test_the_labels_that_made_a_model_are_found_again_or_it_is_said_that_they_are_not() -> None:
    given = labels(50)
    found = compare(given, 50, 50)
    words = list(made_words(found.first.made_of))
    assert words[0].startswith("120 labels: ")
    assert "still holds 50 events of them" in words[1]
    assert "answered by 50 ann" in words


def number_labels(count: int, *, drawn: bool = False) -> list[Label]:
    features, truth = numbers(count, 7)
    found = [label_of(index, features[index].tolist(), repr(float(truth[index]))) for index in range(count)]
    if drawn:
        chance = {"reason": "explore", "inclusion_probability": 0.2}
        return [
            msgspec.structs.replace(label, tile=index // 4, **chance) if index % 2 else label
            for index, label in enumerate(found)
        ]
    return found


def compared_numbers(given: Sequence[Label], *, wrong: bool = False, metric: str = "rmse") -> Compared:
    """Models that have learnt from the first 20 and 40 labels; the second the opposite of the truth, if wrong."""
    pipeline = number_pipeline(extra=f"[gates]\nmetric = '{metric}'")
    outputs, schema = [], ModelSchema.of(pipeline)
    for version, end, is_wrong in (("v000001-0000000a", 20, False), ("v000002-0000000b", 40, wrong)):
        model, manifest = small_model(schema, version=version, trees=20, wrong=is_wrong)
        ranges = [LabelRange(topic=TOPIC, partition=0, start=0, end=end, incarnation=INCARNATION)]
        manifest = msgspec.structs.replace(manifest, trained_on=ranges, known_until=_FAR)
        outputs += publish(manifest, model.text, topic=pipeline.topics.models)
    registry = registry_of(outputs)
    first, second = registry.manifests.values()
    return on_labels(pipeline, registry, first, second, read(given, [first, second]))


def test_two_models_of_a_number_are_told_by_its_errors_in_its_unit() -> None:
    found = compared_numbers(number_labels(400, drawn=True), wrong=True)
    told = dict(compared_words(found))
    assert (found.n, found.drawn, found.about, found.positives) == (180, True, "", 0)
    for side in (found.first, found.second):
        names = [figure.name for figure in side.figures]
        assert names == ["R²", "RMSE", "mean absolute error", "numbers within their interval"]
        assert all((figure.low or 0) < (figure.value or 0) < (figure.high or 0) for figure in side.figures[:3])
    good, bad = found.first.figures[1], found.second.figures[1]
    assert (good.high or 0) < (bad.low or 0)
    assert found.difference is not None
    assert found.difference.value == pytest.approx((bad.value or 0) - (good.value or 0))
    assert re.search(
        r"^The first is better: the second's RMSE less the first's is \+\d\.\d+ h \(95 %: \+", told["difference"][0]
    )
    assert re.search(r"^\d\.\d+ h \(95 %: ", told["RMSE"][0])
    assert " of them" not in told["unseen labels"][0]


def test_a_model_of_a_number_is_no_better_than_itself_and_the_gates_metric_tells_them_apart() -> None:
    same = compared_numbers(number_labels(200), metric="mae")
    assert (same.difference and (same.difference.low, same.difference.value, same.difference.high)) == (0, 0, 0)
    told = dict(compared_words(same))["difference"][0]
    assert told.startswith("Neither is shown to be better: the second's mean absolute error less the first's is +0 h")


@given(
    offset=st.integers(0, 100),
    known=st.integers(0, 100),
    end=st.integers(0, 100),
    until=st.integers(0, 100),
    created=st.integers(0, 100),
    ours=st.booleans(),
)
def test_of_other_labels_a_model_may_know_all_that_was_known_when_it_was_made(
    offset: int, known: int, end: int, until: int, created: int, *, ours: bool
) -> None:
    manifest, _ = _MADE
    ranges = [LabelRange(topic=TOPIC, partition=0, start=0, end=end, incarnation=INCARNATION if ours else "ffffffff")]
    manifest = msgspec.structs.replace(manifest, trained_on=ranges, known_until=until, created_at=created)
    label = msgspec.structs.replace(_LABEL, known_at=known)
    found = may_know(manifest, offset, label, TOPIC, INCARNATION)
    assert found == (known <= until and (offset < end or not ours))
    imported = msgspec.structs.replace(manifest, trained_on=[], known_until=0)
    assert may_know(imported, offset, label, TOPIC, INCARNATION) == (known <= created)


_MADE = made("v000001-0000000a", 0)
_LABEL = label_of(0, [0.0, np.nan, 1.0], "yes")
