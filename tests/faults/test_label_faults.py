"""Labeling service, retrain and monitor killed while labels flow: the small one of `make bench-faults`, its checker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from benchmarks.loop import label_invariants
from benchmarks.loop.annotators import Answer
from benchmarks.loop.label_faults import QUICK, Outcome, run
from benchmarks.loop.label_invariants import Evidence, of_labels, of_metrics, of_models, of_records, violations
from tidemark.pipeline import Pipeline
from tidemark.records import Label, Metric, ModelManifest, Record, decode, encode
from tidemark.runtime.processor import Batch
from tidemark.training.dataset import Dataset
from tidemark.training.trainer import train


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run(QUICK, tmp_path_factory.mktemp("label-storm"))


@pytest.fixture(scope="module", autouse=True)
def trained_once() -> Iterator[None]:
    """Trainings of the very same rows give the very same model, so that each is done once for all checks."""
    models: dict[object, object] = {}
    flows: dict[int, tuple[Batch, object]] = {}
    trained_again = label_invariants._trained_again

    def model_of(rows: Dataset, *arguments: object, **options: object) -> object:
        known = None if rows.known_at is None else rows.known_at.tobytes()
        values = (rows.features.tobytes(), rows.target.tobytes(), rows.first_seen.tobytes(), known)
        key = (*values, rows.event_ids, rows.known_until, repr((arguments, options)))
        if key not in models:
            models[key] = train(rows, *arguments, **options)  # type: ignore[arg-type]
        return models[key]

    def flow_over(pipeline: Pipeline, labels: Batch) -> object:
        if id(labels) not in flows:
            flows[id(labels)] = labels, trained_again(pipeline, labels)
        return flows[id(labels)][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.loop.label_invariants.train", model_of)
        patch.setattr(label_invariants, "_trained_again", flow_over)
        yield


def test_no_label_is_lost_or_doubled_and_models_name_theirs_whatever_is_killed(outcome: Outcome) -> None:
    evidence = outcome.evidence
    assert {name for fault in outcome.faults for name in fault} == {"labeling", "retrain", "monitor"}
    found = violations(outcome.pipeline, evidence)
    assert found == dict.fromkeys(found, 0)
    assert len(evidence.labels) == QUICK.cases
    assert len(evidence.acknowledged) > 0.9 * QUICK.cases, "few acknowledgements are lost with the service"
    assert any(answer.label is None for answer in evidence.acknowledged.values()), "some were skipped"
    assert len(evidence.manifests) >= 3
    assert {source[0] for source in evidence.dead_letters} == {"fraud.candidates", "fraud.outcomes"}


# ---- each check counts what it is there for --------------------------------------------------------------------------


def without(batch: Batch, row: int) -> Batch:
    keep = np.arange(len(batch)) != row
    return replace(
        batch,
        offsets=batch.offsets[keep],
        timestamps=batch.timestamps[keep],
        keys=[key for key, kept in zip(batch.keys, keep, strict=True) if kept],
        values=[value for value, kept in zip(batch.values, keep, strict=True) if kept],
        headers=[header for header, kept in zip(batch.headers, keep, strict=True) if kept],
    )


def again(batch: Batch, value: bytes) -> Batch:
    return replace(
        batch,
        offsets=np.append(batch.offsets, batch.offsets[-1] + 1),
        timestamps=np.append(batch.timestamps, batch.timestamps[-1]),
        keys=[*batch.keys, None],
        values=[*batch.values, value],
        headers=[*batch.headers, None],
    )


def acknowledged_row(evidence: Evidence) -> tuple[int, Label]:
    for row, value in enumerate(evidence.labels.values):
        label = decode(Label, value)
        if label.annotation_id in evidence.acknowledged and label.status == "answered":
            return row, label
    raise AssertionError("no label was acknowledged")


def lost_label(evidence: Evidence) -> Evidence:
    return replace(evidence, labels=without(evidence.labels, acknowledged_row(evidence)[0]))


def doubled_label(evidence: Evidence) -> Evidence:
    return replace(evidence, labels=again(evidence.labels, evidence.labels.values[0] or b""))


def case_labeled_by_two(evidence: Evidence) -> Evidence:
    _, label = acknowledged_row(evidence)
    another = msgspec.structs.replace(label, annotation_id="another")
    return replace(evidence, labels=again(evidence.labels, encode(another)))


def label_of_another_case(evidence: Evidence) -> Evidence:
    _, label = acknowledged_row(evidence)
    stranger = msgspec.structs.replace(label, event_id="fraud.raw-0-999999-00c0ffee", annotation_id="another")
    return replace(evidence, labels=again(evidence.labels, encode(stranger)))


def altered_label(evidence: Evidence) -> Evidence:
    row, label = acknowledged_row(evidence)
    other = "fraud" if label.label == "legitimate" else "legitimate"
    values = list(evidence.labels.values)
    values[row] = encode(msgspec.structs.replace(label, label=other))
    return replace(evidence, labels=replace(evidence.labels, values=values))


def altered_answer(evidence: Evidence) -> Evidence:
    _, label = acknowledged_row(evidence)
    assert label.annotation_id is not None
    given = evidence.acknowledged | {label.annotation_id: Answer(label.event_id, "another class")}  # type: ignore[operator]
    return replace(evidence, acknowledged=given)


def lost_dead_letter(evidence: Evidence) -> Evidence:
    return replace(evidence, dead_letters=evidence.dead_letters[1:])


def doubled_dead_letter(evidence: Evidence) -> Evidence:
    return replace(evidence, dead_letters=[*evidence.dead_letters, evidence.dead_letters[0]])


def good_record_given_up(evidence: Evidence) -> Evidence:
    return replace(evidence, dead_letters=[*evidence.dead_letters, ("fraud.labels", 0, 0)])


def offsets_not_complete(evidence: Evidence) -> Evidence:
    first, *others = evidence.positions
    return replace(evidence, positions=[replace(first, committed=first.last), *others])


def with_manifest(evidence: Evidence, **changes: object) -> Evidence:
    version = max(evidence.manifests)
    manifest = msgspec.structs.replace(evidence.manifests[version], **changes)
    return replace(evidence, manifests={**evidence.manifests, version: manifest})


def a_label_more_than_was_learnt_from(evidence: Evidence) -> Evidence:
    last = evidence.manifests[max(evidence.manifests)]
    shorter = [msgspec.structs.replace(each, end=each.end - 20) for each in last.trained_on]
    return with_manifest(evidence, trained_on=shorter)


def digest_of_other_labels(evidence: Evidence) -> Evidence:
    return with_manifest(evidence, event_ids_sha256="0" * 64)


def labels_of_an_earlier_topic(evidence: Evidence) -> Evidence:
    last = evidence.manifests[max(evidence.manifests)]
    earlier = [msgspec.structs.replace(each, incarnation="0badcafe") for each in last.trained_on]
    return with_manifest(evidence, trained_on=earlier)


def another_text(evidence: Evidence) -> Evidence:
    return with_manifest(evidence, sha256="0" * 64)


def lost_text(evidence: Evidence) -> Evidence:
    return replace(evidence, texts=dict(list(evidence.texts.items())[1:]))


def lost_model(evidence: Evidence) -> Evidence:
    versions = sorted(evidence.manifests)[:-1]
    return replace(evidence, manifests={version: evidence.manifests[version] for version in versions})


def doubled_model(evidence: Evidence) -> Evidence:
    last = evidence.manifests[max(evidence.manifests)]
    twin: ModelManifest = msgspec.structs.replace(last, version="v000099-00000000")
    return replace(evidence, manifests={**evidence.manifests, twin.version: twin})


def champion_left_behind(evidence: Evidence) -> Evidence:
    return replace(evidence, champion=min(evidence.manifests))


def is_verdict(value: bytes) -> bool:
    return decode(Metric, value).name.startswith("gate_")


def doubled_verdict(evidence: Evidence) -> Evidence:
    return replace(evidence, metrics=[*evidence.metrics, next(filter(is_verdict, evidence.metrics))])


def lost_verdict(evidence: Evidence) -> Evidence:
    lost = next(filter(is_verdict, evidence.metrics))
    return replace(evidence, metrics=[value for value in evidence.metrics if value != lost])


def measured(evidence: Evidence) -> list[Metric]:
    metrics = [decode(Metric, value) for value in evidence.metrics if not is_verdict(value)]
    return [metric for metric in metrics if metric.source == "budget" and metric.name == "labels_answered"]


def with_metric(evidence: Evidence, record: Record) -> Evidence:
    return replace(evidence, metrics=[*evidence.metrics, encode(record)])


def doubled_metric(evidence: Evidence) -> Evidence:
    return with_metric(evidence, measured(evidence)[-1])


def two_figures_of_one_time(evidence: Evidence) -> Evidence:
    return with_metric(evidence, msgspec.structs.replace(measured(evidence)[0], value=-1.0))


def rows_counted_twice(evidence: Evidence) -> Evidence:
    rates = [decode(Metric, value) for value in evidence.metrics]
    rate = next(metric for metric in rates if metric.name == "prediction_rate" and metric.n > 0)
    return with_metric(evidence, msgspec.structs.replace(rate, at=rate.at + 1, n=QUICK.cases))


def last_figure_too_low(evidence: Evidence) -> Evidence:
    last = measured(evidence)[-1]
    lower = encode(msgspec.structs.replace(last, value=(last.value or 0.0) - 1))
    return replace(evidence, metrics=[lower if value == encode(last) else value for value in evidence.metrics])


Part = Callable[[Pipeline, Evidence], dict[str, int]]

TAMPERINGS: dict[Callable[[Evidence], Evidence], tuple[Part, str]] = {
    lost_label: (of_labels, "acknowledged labels not published"),
    altered_answer: (of_labels, "acknowledged labels published otherwise"),
    doubled_label: (of_labels, "labels published again"),
    case_labeled_by_two: (of_labels, "cases labeled again"),
    label_of_another_case: (of_labels, "labels of no case"),
    altered_label: (of_labels, "labels other than answered"),
    offsets_not_complete: (of_records, "partitions not complete"),
    lost_dead_letter: (of_records, "dead letters missing"),
    doubled_dead_letter: (of_records, "dead letters again"),
    good_record_given_up: (of_records, "dead letters of what was good"),
    a_label_more_than_was_learnt_from: (of_models, "models whose labels are not those they name"),
    digest_of_other_labels: (of_models, "models whose labels are not those they name"),
    labels_of_an_earlier_topic: (of_models, "models whose labels are not those they name"),
    another_text: (of_models, "models other than made of the labels they name"),
    lost_text: (of_models, "models without their text"),
    lost_model: (of_models, "models other than without a fault"),
    doubled_model: (of_models, "models other than without a fault"),
    champion_left_behind: (of_models, "champions other than without a fault"),
    doubled_verdict: (of_models, "verdicts other than without a fault"),
    lost_verdict: (of_models, "verdicts other than without a fault"),
    doubled_metric: (of_metrics, "metrics again"),
    two_figures_of_one_time: (of_metrics, "figures of one time again"),
    rows_counted_twice: (of_metrics, "predictions counted again"),
    last_figure_too_low: (of_metrics, "last figures other than without a fault"),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_the_checker_of_labels_counts_what_is_wrong(
    outcome: Outcome, tampering: Callable[[Evidence], Evidence]
) -> None:
    part, check = TAMPERINGS[tampering]
    assert part(outcome.pipeline, tampering(outcome.evidence))[check] > 0


def test_a_case_without_a_label_is_counted(outcome: Outcome) -> None:
    assert of_labels(outcome.pipeline, lost_label(outcome.evidence))["cases without a label"] == 1


def test_every_check_is_shown_to_count(outcome: Outcome) -> None:
    checks = set(violations(outcome.pipeline, outcome.evidence))
    assert checks == {*(check for _, check in TAMPERINGS.values()), "cases without a label"}
