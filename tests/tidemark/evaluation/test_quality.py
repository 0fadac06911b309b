import msgspec
import numpy as np
import pytest

from tidemark.evaluation import metrics
from tidemark.evaluation.labels import final_labels
from tidemark.evaluation.quality import quality
from tidemark.records import Label, LabelStatus, Metric


def label(event: int, **changed: object) -> Label:
    fields: dict[str, object] = {
        "event_id": f"raw-0-{event}-0000abcd",
        "business_id": None,
        "key": None,
        "time": event,
        "status": "answered",
        "label": "good",
        "annotator": "ann",
        "known_at": event,
        "answered_at": event,
        "reason": "explore",
        "inclusion_probability": 0.1,
        "tile": 0,
        "tile_count": 1_000_000,
        "policy": "1",
        "features": {},
        "probabilities": [0.8, 0.2],
        "uncertainty": 0.4,
        "model": "m1",
    }
    return msgspec.convert({**fields, **changed}, Label)


def measured(labels: list[Label]) -> dict[tuple[str, str], Metric]:
    figures = quality(labels, classes=["good", "bad"], positive="bad", at=9)
    return {(metric.model, metric.name): metric for metric in figures}


def test_active_picks_enter_no_estimate() -> None:
    drawn = [label(i) for i in range(10)]
    picked = [label(100 + i, label="bad", reason="uncertain", inclusion_probability=None) for i in range(50)]
    figures = measured(drawn + picked)
    assert figures["m1", "accuracy"].value == 1.0
    assert figures["m1", "accuracy"].n == 10
    assert measured(picked) == {}


def test_figures_of_one_tile_are_those_of_its_answers() -> None:
    rng = np.random.default_rng(5)
    p = rng.random(60)
    truth = rng.random(60) < p
    labels = [
        label(
            i,
            label="bad" if truth[i] else "good",
            probabilities=[float(1 - p[i]), float(p[i])],
            inclusion_probability=6e-5,
        )
        for i in range(60)
    ]
    figures = {name: metric.value for (_, name), metric in measured(labels).items()}
    table = np.column_stack([1 - p, p])
    precision, recall = metrics.precision_recall(truth, p, 0.5)
    assert figures == pytest.approx(
        {
            "accuracy": float(np.mean((p >= 0.5) == truth)),
            "log_loss": metrics.log_loss(truth.astype(np.int64), table),
            "brier": metrics.brier(truth.astype(np.int64), table),
            "base_rate": float(truth.mean()),
            "precision": precision,
            "recall": recall,
            "average_precision": metrics.average_precision(truth, p),
        }
    )
    for metric in measured(labels).values():
        assert metric.low is not None
        assert metric.value is not None
        assert metric.high is not None
        assert metric.low < metric.value < metric.high
        assert (metric.source, metric.at) == ("labels", 9)


def test_a_bigger_tile_weighs_more() -> None:
    small = [label(i, label="bad", tile=1, tile_count=100) for i in range(4)]
    large = [label(10 + i, tile=2, tile_count=300) for i in range(4)]
    assert measured(small + large)["m1", "base_rate"].value == pytest.approx(0.25)


def test_a_model_that_predicted_part_of_a_tile_is_measured_on_its_part() -> None:
    labels = [label(i, model="m1" if i < 6 else "m2", label="bad" if i >= 6 else "good") for i in range(10)]
    labels.append(label(11, model="none", probabilities=None))
    figures = measured(labels)
    assert {model for model, _ in figures} == {"m1", "m2"}
    assert figures["m1", "accuracy"].value == pytest.approx(1.0)
    assert figures["m2", "accuracy"].value == pytest.approx(0.0)


def test_skips_and_expiries_are_counted_as_non_response() -> None:
    labels = [label(i) for i in range(8)]
    labels += [label(8, status="skipped", label=None), label(9, status="expired", label=None)]
    metric = measured(labels)["m1", "accuracy"]
    assert (metric.n, metric.detail) == (8, {"drawn": 10, "unanswered": 2})


def test_two_policies_with_the_same_tile_number_are_two_strata() -> None:
    labels = [label(i, tile_count=50) for i in range(4)]
    labels += [label(10 + i, policy="2", tile_count=70, label="bad") for i in range(4)]
    assert measured(labels)["m1", "base_rate"].value == pytest.approx(70 / 120)


def test_an_answer_that_is_no_class_and_a_wrong_number_of_probabilities_are_refused() -> None:
    with pytest.raises(ValueError, match="'ugly' is not one of the classes"):
        measured([label(0), label(1, label="ugly")])
    with pytest.raises(ValueError, match="3 probabilities for 2 classes"):
        measured([label(0), label(1, probabilities=[0.1, 0.2, 0.7])])


def test_the_majority_of_annotators_decides_and_the_latest_at_a_tie() -> None:
    votes = [
        label(1, annotator="a"),
        label(1, annotator="b", label="bad"),
        label(1, annotator="c", label="bad"),
        label(2, annotator="a"),
        label(2, annotator="b", label="bad"),
    ]
    assert [verdict.label for verdict in final_labels(votes)] == ["bad", "bad"]


def test_a_correction_replaces_and_a_retraction_removes() -> None:
    labels = [
        label(1, annotation_id="x1"),
        label(2, annotation_id="x2"),
        label(1, annotation_id="x3", supersedes="x1", label="bad", annotator="boss"),
        label(2, annotation_id="x4", supersedes="x2", status="retracted", label=None),
        label(3, annotation_id="x5"),
        label(3, annotation_id="x6", label="bad"),
    ]
    verdicts = final_labels(labels)
    assert [(verdict.event_id, verdict.label) for verdict in verdicts] == [
        ("raw-0-1-0000abcd", "bad"),
        ("raw-0-3-0000abcd", "bad"),
    ]


def test_an_answer_outweighs_skips_and_a_skip_stays_where_nobody_answered() -> None:
    labels = [
        label(1, annotator="a"),
        label(1, annotator="b", status="skipped", label=None),
        label(2, annotator="a", status="skipped", label=None),
        label(2, annotator="b", status="expired", label=None),
    ]
    assert [verdict.status for verdict in final_labels(labels)] == ["answered", "expired"]


ON_THE_WAY: tuple[LabelStatus, ...] = ("vote", "gold", "escalated", "commented", "requeued")


@pytest.mark.parametrize("status", ON_THE_WAY)
def test_what_is_said_on_the_way_to_a_verdict_is_no_label(status: LabelStatus) -> None:
    verdict = label(1, annotator="consensus", annotation_id="v", answers=2, annotators=["a", "b"])
    said = label(1, annotator="a", status=status, label="bad", annotation_id="x")
    corrected = label(1, annotator="consensus", status=status, label=None, annotation_id="y", supersedes="x")
    assert final_labels([said, verdict, corrected]) == [verdict]
    assert final_labels([said, corrected]) == []
    others = [label(i) for i in range(2, 9)]
    assert measured([said, verdict, corrected, *others]) == measured([verdict, *others])


def test_a_withdrawn_case_is_one_that_nobody_answered() -> None:
    withdrawn = label(1, status="withdrawn", label=None, annotator="")
    assert final_labels([withdrawn]) == [withdrawn]
    assert final_labels([withdrawn, label(1)]) == [label(1)]
