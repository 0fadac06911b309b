"""The headline of the retrain flow: on labels that no model which scores them has learnt from, once each."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import batch_of, label_of, rows, small_pipeline

from tidemark.evaluation.draw import weights_of
from tidemark.pipeline import Pipeline
from tidemark.pipeline.model import Alerts
from tidemark.records import Champion, Label, Metric, decode, encode
from tidemark.registry.codec import Registry
from tidemark.registry.sandbox import Sandbox
from tidemark.runtime.processor import Output, Partition
from tidemark.training import RetrainProcessor
from tidemark.training.headline import HeadlineLog

PIPELINE = small_pipeline(
    extra=(
        "[training]\nlearner = 'boosted'\n"
        "every = 40\nmin_labels = 20\nparams = { num_iterations = 5 }\n[gates]\nmin_holdout = 20"
    )
)
PARTITION = Partition("p.labels", 0, "0a1b2c3d")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as shared:
        yield shared


def drawn(event: int, label: str, features: list[float], *, tile_count: int = 100, explore: bool = True) -> Label:
    made = label_of(event, features, label)
    return msgspec.structs.replace(
        made,
        reason="explore" if explore else "uncertain",
        inclusion_probability=0.02 if explore else None,
        tile=event // 4,
        tile_count=tile_count,
    )


def values(count: int) -> list[bytes]:
    """Every second label is of the random draw."""
    features, target = rows(count, seed=3)
    return [
        encode(drawn(event, PIPELINE.label.classes[target[event]], features[event].tolist(), explore=event % 2 == 0))
        for event in range(count)
    ]


class Flow:
    """A retrain flow whose topics are lists. splits: where batches end."""

    def __init__(self, sandbox: Sandbox, pipeline: Pipeline = PIPELINE) -> None:
        self._sandbox, self._pipeline = sandbox, pipeline
        self.outputs: list[Output] = []
        self.committed: tuple[int, str] | None = None
        self.processor = self._opened()

    def _opened(self) -> RetrainProcessor:
        processor = RetrainProcessor(self._pipeline, read_registry=self._registry, sandbox=self._sandbox)
        processor.open(PARTITION, self.committed[1] if self.committed else "")
        return processor

    def _registry(self) -> Registry:
        registry = Registry()
        registry.feed_outputs([each for each in self.outputs if each.topic == "p.models"])
        return registry

    def run(self, given: list[bytes], ends: list[int], *, ticks: bool = False, crash: bool = False) -> list[Metric]:
        position = 0
        for end in [*ends, len(given)]:
            if end <= position:
                continue
            batch = batch_of(given[position:end], first=position)
            if crash:
                self.processor.process(batch)
                self._restart(given)
            self._commit(self.processor.process(batch), end)
            position = end
            if crash:
                self._restart(given)
            if ticks:
                self._commit(self.processor.tick(1.0), end)
        self._commit(self.processor.tick(1.0), position)
        metrics = [decode(Metric, each.value) for each in self.outputs if each.topic == "p.metrics"]
        return [metric for metric in metrics if metric.name == "quality"]

    def _commit(self, outputs: list[Output], position: int) -> None:
        self.outputs += outputs
        self.committed = position, self.processor.metadata(PARTITION)

    def _restart(self, given: list[bytes]) -> None:
        self.processor = self._opened()
        if self.committed is not None:
            assert self.processor.process(batch_of(given[: self.committed[0]], replay=True)) == []


def test_there_is_a_headline_of_every_champion_and_as_answers_come(sandbox: Sandbox) -> None:
    flow = Flow(sandbox)
    told = flow.run(values(120), [])
    published = {decode(Champion, each.value).version for each in flow.outputs if each.key == b"champion"}
    assert {metric.model for metric in told} == published
    assert len(published) > 2
    drawn_so_far = [int(metric.detail["drawn"] or 0) for metric in told]
    assert drawn_so_far == sorted(drawn_so_far)
    last = told[-1]
    assert 45 <= last.n <= 60
    assert 0 < int(last.detail["since_champion"] or 0) < last.n
    assert last.detail["learnt_from"] == last.n - int(last.detail["since_champion"] or 0)
    assert 0 <= (last.low or 0) <= (last.value or 0) <= (last.high or 0) <= 1


@pytest.fixture(scope="module")
def undisturbed(sandbox: Sandbox) -> list[Metric]:
    """Headlines of a run in one batch."""
    return Flow(sandbox).run(values(120), [])


@given(ends=st.lists(st.integers(1, 119), max_size=6).map(sorted), ticks=st.booleans(), crash=st.booleans())
@settings(max_examples=5, deadline=None)
def test_batches_ticks_and_crashes_leave_no_headline_out_and_give_none_twice(
    sandbox: Sandbox, undisturbed: list[Metric], ends: list[int], *, ticks: bool, crash: bool
) -> None:
    assert Flow(sandbox).run(values(120), ends, ticks=ticks, crash=crash) == undisturbed


def test_a_pipeline_that_draws_nothing_is_told_how_many_answers_are_needed(sandbox: Sandbox) -> None:
    features, target = rows(40, seed=3)
    given = [
        encode(drawn(event, PIPELINE.label.classes[target[event]], features[event].tolist(), explore=False))
        for event in range(40)
    ]
    told = Flow(sandbox).run(given, [])
    assert [(metric.n, metric.value) for metric in told] == [(0, None)]
    assert told[0].detail["more"] == 100


def test_an_answer_stands_for_the_events_of_its_tile_over_those_drawn_from_it() -> None:
    labels = [drawn(event, "yes", [0.0, 0.0, 0.0], tile_count=100 * (1 + event // 4)) for event in range(8)]
    labels.append(msgspec.structs.replace(drawn(8, "no", [0.0, 0.0, 0.0], tile_count=600)))
    weights = list(weights_of(labels).values())
    assert weights == [25.0] * 4 + [50.0] * 4 + [150.0]  # of the last tile three still wait for their answers


def test_a_tile_that_was_drawn_whole_weighs_one_for_each_event() -> None:
    labels = [drawn(event, "yes", [0.0, 0.0, 0.0], tile_count=3) for event in (0, 1)]
    whole = [msgspec.structs.replace(label, inclusion_probability=1.0) for label in labels]
    assert list(weights_of(whole).values()) == [1.0, 1.0]


@pytest.mark.parametrize("inclusion", [0.0, -1.0, 1.5, float("nan"), float("inf"), None])
def test_a_chance_that_is_none_enters_no_headline(inclusion: float | None) -> None:
    log = HeadlineLog()
    log.add(msgspec.structs.replace(drawn(1, "yes", [0.0, 0.0, 0.0]), inclusion_probability=inclusion))
    assert log.heard == 0
    log.add(msgspec.structs.replace(drawn(1, "yes", [0.0, 0.0, 0.0]), tile_count=0))
    log.add(drawn(2, "yes", [0.0, 0.0, 0.0]))
    log.add(drawn(2, "yes", [0.0, 0.0, 0.0]))
    assert log.heard == 1


def test_alerts_are_told_with_each_headline_where_the_pipeline_asks(sandbox: Sandbox) -> None:
    pipeline = PIPELINE.model_copy(update={"alerts": Alerts(recall=0.5, per_day=1e6)})
    flow = Flow(sandbox, pipeline)
    told = flow.run(values(120), [])
    metrics = [decode(Metric, each.value) for each in flow.outputs if each.topic == "p.metrics"]
    alerts = [metric for metric in metrics if metric.name == "alert_threshold"]
    assert [(metric.model, metric.at) for metric in alerts] == [(metric.model, metric.at) for metric in told]
    last = alerts[-1]
    assert last.value is not None
    assert 0 < last.value < 1
    assert (last.detail["recall"], last.detail["most_per_day"], last.detail["fits"]) == (0.5, 1e6, 1)
    share = float(last.detail["flagged"] or 0)
    a_day = 100 * 86_400_000_000 / pipeline.selection.tile
    assert last.detail["per_day"] == pytest.approx(share * a_day)
    assert alerts[0].n < last.n
