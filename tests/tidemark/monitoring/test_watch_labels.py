"""The watch over answers: harm, other shares, and neither where a model gets better or nothing happens."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from benchmarks.labels.proposal_streams import pipeline
from tidemark.evaluation.focus import FLOOR, sizes
from tidemark.monitoring import Options
from tidemark.monitoring.steps import WatchLabelsStep
from tidemark.pipeline.model import Pipeline
from tidemark.records import Label, Metric, decode, encode
from tidemark.runtime.by_topic import Received
from tidemark.runtime.processor import Batch, Partition
from tidemark.runtime.steps import RoundContext

PLACE = Partition("p.labels", 0, "0badcafe")
BEGIN = 1_700_000_000_000_000
MINUTE = 60_000_000
CONTEXT = RoundContext(0)


def pipe() -> Pipeline:
    return pipeline(budget=2, explore=1, partitions=1)


def answers(
    n: int, *, begin: int = 0, rate: float = 0.3, skill: float = 2.0, flipped: float = 0.0, **changed: object
) -> list[Label]:
    """Labels of cases whose log odds a model knows `skill` of, a share of them the wrong way round."""
    rng = np.random.default_rng(begin)
    found = []
    for at in range(begin, begin + n):
        truth = rng.random() < rate
        p = float(1 / (1 + np.exp(-rng.normal() - skill * (2 * truth - 1))))
        truth ^= rng.random() < flipped
        fields: dict[str, object] = {
            "event_id": f"p.raw-0-{at}-0badcafe",
            "business_id": None,
            "key": None,
            "time": BEGIN + at * MINUTE,
            "status": "answered",
            "label": pipe().label.classes[int(truth)],
            "annotator": "ann",
            "known_at": BEGIN + at * MINUTE,
            "answered_at": BEGIN + at * MINUTE,
            "reason": "explore",
            "inclusion_probability": 0.01,
            "tile": at,
            "tile_count": 100,
            "policy": "1",
            "features": {},
            "probabilities": [1 - p, p],
            "uncertainty": None,
            "model": "v000001-00000000",
            **changed,
        }
        found.append(Label(**fields))  # type: ignore[arg-type]
    return found


def received(labels: list[Label], stamps: list[int]) -> Received:
    n = len(labels)
    values: list[bytes | None] = [encode(label) for label in labels]
    return Received([Batch(PLACE, np.arange(n), np.array(stamps, np.int64), [None] * n, values)])


def told(labels: list[Label]) -> list[Metric]:
    watch = WatchLabelsStep(pipe(), Options())
    rows = received(labels, [label.known_at // 1_000 for label in labels])
    return [decode(Metric, output.value) for output in watch.process(rows, CONTEXT)]


def test_labels_that_turn_against_the_model_are_harm() -> None:
    (alarm,) = told([*answers(400), *answers(250, begin=400, flipped=0.4)])
    assert alarm.name == "quality_fell"
    assert 400 < alarm.n < 650
    before, lately = alarm.detail["error_before"], alarm.detail["error_lately"]
    assert isinstance(before, float)
    assert isinstance(lately, float)
    assert before < 0.15 < lately


def test_other_shares_are_told_by_the_class_that_moved() -> None:
    alarms = told([*answers(400, rate=0.1), *answers(300, begin=400, rate=0.5)])
    (alarm,) = [each for each in alarms if each.name == "labels_changed"]
    assert alarm.detail["moved_1"] in pipe().label.classes
    assert "of answers" in str(alarm.detail["how_1"])


def test_a_model_that_gets_better_is_no_harm_and_what_it_reached_is_what_counts() -> None:
    better = [*answers(400, skill=0.2), *answers(400, begin=400, skill=3.0)]
    assert told(better) == []
    (alarm,) = told([*better, *answers(300, begin=800, skill=0.2)])
    assert alarm.name == "quality_fell"


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_told_while_nothing_changes(seed: int) -> None:
    assert told(answers(1_500, begin=seed * 10_000)) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"inclusion_probability": None, "reason": "uncertain"},
        {"status": "skipped", "label": None},
        {"label": "nobody's"},
        {"probabilities": [0.5]},
    ],
)
def test_answers_that_say_nothing_of_all_events_do_not_count(changed: dict[str, object]) -> None:
    assert (
        told(
            [
                *answers(400),
                *(msgspec.structs.replace(each, **changed) for each in answers(250, begin=400, flipped=0.8)),
            ]
        )
        == []
    )


def test_an_answer_counts_once_and_a_clock_that_runs_ahead_does_not_silence_alarms() -> None:
    ahead = answers(1, known_at=2**61)
    labels = [*answers(400), *ahead, *answers(250, begin=400, flipped=0.4)]
    watch = WatchLabelsStep(pipe(), Options())
    rows = received(labels, [label.time // 1_000 for label in labels])
    once, again = watch.process(rows, CONTEXT), watch.process(rows, CONTEXT)
    assert [decode(Metric, output.value).name for output in once] == ["quality_fell"]
    assert again == []


def test_of_a_focused_draw_as_many_of_each_kind_count_as_come() -> None:
    """More unsure cases are drawn; once as many are passed over, other shares of them are no other shares of events."""
    rng = np.random.default_rng(1)
    plain = answers(3_000, rate=0.3, skill=1.0)
    size = sizes(np.array([label.probabilities for label in plain]))
    focused = [
        msgspec.structs.replace(label, policy="1/focused")
        for label, its in zip(plain, size, strict=True)
        if rng.random() < its
    ]
    assert told([*answers(400, begin=5_000, skill=1.0), *focused[:400]]) == []
    assert size.min() >= FLOOR


def test_replayed_answers_rebuild_the_watch_and_tell_nothing() -> None:
    labels = [*answers(400), *answers(20, begin=400, flipped=0.4)]
    rest = answers(200, begin=420, flipped=0.4)
    watch = WatchLabelsStep(pipe(), Options())

    def batch(of: list[Label]) -> Received:
        return received(of, [label.known_at // 1_000 for label in of])

    assert watch.process(batch(labels), RoundContext(0, replay=True)) == []
    after = [decode(Metric, output.value) for output in watch.process(batch(rest), CONTEXT)]
    assert [(metric.name, metric.n) for metric in after] == [
        (metric.name, metric.n) for metric in told([*labels, *rest])
    ]
